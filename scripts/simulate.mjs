// `npm run simulate [-- --schedules 100000] [--seed 1] [--stack memory] [--workers 2]`: real managers as processes on simulated time and connections, with what
// goes wrong drawn from the seed, judged by the promises. A schedule that breaks one is made as short as it can be, and told.
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'

const AT_ONCE = 500
const WORKER = fileURLToPath(new URL('../test/simulation/worker.mjs', import.meta.url))
const STACKS = ['nothing', 'memory', 'memory and disk']

async function main() {
  const { values } = parseArgs({
    options: {
      schedules: { type: 'string', default: '20000' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
      stack: { type: 'string' },
      workers: { type: 'string', default: String(availableParallelism()) },
    },
  })
  for (const name of ['schedules', 'seed', 'workers']) {
    if (/^[1-9]\d*$/.test(values[name]) || (name === 'seed' && values[name] === '0')) continue
    console.error(`--${name} must be a whole number, not ${values[name]}`)
    return 2
  }
  if (values.stack !== undefined && !STACKS.includes(values.stack)) {
    console.error(`--stack must be one of ${STACKS.map((stack) => JSON.stringify(stack)).join(', ')}, not ${values.stack}`)
    return 2
  }
  const stacks = values.stack === undefined ? STACKS : [values.stack]
  const [total, firstSeed] = [Number(values.schedules), Number(values.seed)]
  await build()
  const began = performance.now()
  let [given, done, events] = [0, 0, 0]
  let failure
  const one = async () => {
    const child = fork(WORKER)
    while (given < total && failure === undefined) {
      const count = Math.min(AT_ONCE, total - given)
      const seed = firstSeed + given / AT_ONCE
      given += count
      const result = await new Promise((resolve, reject) => {
        child.once('exit', (code) => reject(new Error(`a worker has ended with ${code}`)))
        child.once('message', resolve)
        child.send({ seed, count, stacks })
      })
      child.removeAllListeners('exit')
      done += count
      events += result.events
      if (result.told !== undefined) failure ??= { ...result, seed }
    }
    child.disconnect()
  }
  await Promise.all(Array.from({ length: Math.min(Number(values.workers), Math.ceil(total / AT_ONCE)) }, one))
  const seconds = (performance.now() - began) / 1000
  console.log(`${done} schedules from seed ${firstSeed} on, ${events} events, ${(done / seconds).toFixed(0)} schedules a second`)
  if (failure === undefined) {
    console.log('No promise was broken.')
    return 0
  }
  console.log(`\n${failure.told}\n\nagain: npm run simulate -- --seed ${failure.seed} --schedules ${AT_ONCE}${values.stack === undefined ? '' : ` --stack ${JSON.stringify(values.stack)}`}\n${JSON.stringify(failure.schedule)}`)
  return 1
}

process.exitCode = await main()
