// `npm run history [-- --operations 1000000] [--seed 1] [--stack "memory and redis"] [--faults redis] [--known]`: long histories on real
// servers, judged by the promises. A million calls take about half an hour on two free cores.
import { parseArgs } from 'node:util'
import { jest } from './jest.mjs'
import { ensureServers } from './servers.mjs'

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    stack: { type: 'string' },
    faults: { type: 'string' },
    known: { type: 'boolean', default: false },
  },
})
for (const name of ['operations', 'seed']) {
  if (/^\d+$/.test(values[name])) continue
  console.error(`--${name} must be a whole number, not ${values[name]}`)
  process.exit(2)
}
process.env.HISTORY_OPERATIONS = values.operations
process.env.HISTORY_SEED = values.seed
if (values.stack !== undefined) process.env.HISTORY_STACK = values.stack
if (values.faults !== undefined) process.env.HISTORY_FAULTS = values.faults
if (values.known) process.env.HISTORY_KNOWN = '1'
console.log(`${values.operations} operations with seed ${values.seed}`)
await ensureServers()
process.exit(jest('history', ['test/history/one-manager.test.ts', 'test/history/several-managers.test.ts']))
