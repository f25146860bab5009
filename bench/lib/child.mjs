/*
 * One contender of one case. Sets itself up, then works only when the driver asks for a slice; in between it is blocked
 * on the channel to the driver.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { findCase } from '../cases/index.mjs'

/** The event loop gets a turn this often, as it does in a process that also serves requests. */
const TURN_EVERY_NS = 5_000_000

const { caseName, contender, dir, quick } = JSON.parse(process.argv[2])
const spec = findCase(caseName)

async function measure({ sliceMs, ops }) {
  const { run, batch = 1000 } = running
  const cpuBefore = process.cpuUsage()
  const startedAt = process.hrtime.bigint()
  let done = 0
  let lastTurn = startedAt
  for (;;) {
    const size = ops === undefined ? batch : Math.min(batch, ops - done)
    await run(size)
    done += size
    const now = process.hrtime.bigint()
    if (ops === undefined ? Number(now - startedAt) >= sliceMs * 1e6 : done >= ops) break
    if (Number(now - lastTurn) >= TURN_EVERY_NS) {
      await turn()
      lastTurn = process.hrtime.bigint()
    }
  }
  const ms = Number(process.hrtime.bigint() - startedAt) / 1e6
  const { user, system } = process.cpuUsage(cpuBefore)
  return { ops: done, ms, cpuMs: (user + system) / 1000 }
}

const running = await spec.contenders[contender]({ dir, quick, spec })

process.on('message', async (message) => {
  if (message.ask === 'slice') process.send({ slice: await measure(message) })
  if (message.ask === 'sample') process.send({ sample: await running.sample() })
  if (message.ask === 'close') {
    await running.close?.()
    process.disconnect()
    process.exit(0)
  }
})
process.on('disconnect', () => process.exit(1))
process.send({ ready: true })
