/*
 * One contender of one case. Sets itself up, then works only when the driver asks for a slice; in between it is blocked
 * on the channel to the driver.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { findCase } from '../cases/index.mjs'

/** The event loop gets a turn this often, as it does in a process that also serves requests. */
const TURN_EVERY_NS = 5_000_000

const { caseName, contender, dir, quick, redis, store } = JSON.parse(process.argv[2])
const spec = findCase(caseName)

async function measure({ sliceMs, ops }) {
  const { run, ready, batch = 1000 } = running
  const aside = { ns: 0n, cpuUs: 0 }
  const cpuBefore = process.cpuUsage()
  const startedAt = process.hrtime.bigint()
  let done = 0
  let lastTurn = startedAt
  for (;;) {
    const size = ops === undefined ? batch : Math.min(batch, ops - done)
    if (ready !== undefined) await uncounted(ready, aside)
    await run(size)
    done += size
    const now = process.hrtime.bigint() - aside.ns
    if (ops === undefined ? Number(now - startedAt) >= sliceMs * 1e6 : done >= ops) break
    if (Number(now - lastTurn) >= TURN_EVERY_NS) {
      await turn()
      lastTurn = process.hrtime.bigint() - aside.ns
    }
  }
  const ms = Number(process.hrtime.bigint() - aside.ns - startedAt) / 1e6
  const { user, system } = process.cpuUsage(cpuBefore)
  return { ops: done, ms, cpuMs: (user + system - aside.cpuUs) / 1000 }
}

/** What a contender does to be ready for the next batch is no part of the slice. */
async function uncounted(work, aside) {
  const cpuBefore = process.cpuUsage()
  const startedAt = process.hrtime.bigint()
  await work()
  const { user, system } = process.cpuUsage(cpuBefore)
  aside.ns += process.hrtime.bigint() - startedAt
  aside.cpuUs += user + system
}

const running = await spec.contenders[contender]({ dir, quick, spec, redis, store })

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
process.send({ ready: true, cannot: running.cannot })
