// Runs schedules for `npm run simulate`: so many of each seed that it is sent, and answers with what came of them.
import fc from 'fast-check'
import { schedules, simulate, toldOf } from '@thermocline/testkit'
import { MANAGERS } from './managers.mjs'

async function work({ seed, count, stacks }) {
  let events = 0
  const property = fc.asyncProperty(schedules(stacks), async (schedule) => {
    const simulated = await simulate(schedule, MANAGERS)
    events += simulated.events
    return simulated.violations.length === 0
  })
  const { failed, counterexample } = await fc.check(property, { numRuns: count, seed })
  if (!failed) return { events }
  const [schedule] = counterexample
  const told = await simulate(schedule, MANAGERS).then((simulated) => toldOf(schedule, simulated), (thrown) => String(thrown?.stack))
  return { events, told, schedule }
}

process.on('message', (task) => void work(task).then((result) => process.send(result)))
