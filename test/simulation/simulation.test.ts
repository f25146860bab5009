import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { SharedStore, schedules, simulate, toldOf, type Schedule, type SimulationOptions, type Stack } from '@thermocline/testkit'
import { MANAGERS } from './managers.mjs'

/*
 * Managers as processes, on simulated time and connections. `npm run simulate` does the same for as long as one likes.
 */

const STACKS: readonly Stack[] = ['nothing', 'memory', 'memory and disk']

/** What the first schedule shows that breaks a promise; `undefined`: none of so many does. */
async function found(stacks: readonly Stack[], numRuns: number, seed: number, options: SimulationOptions = MANAGERS, shrinks = true): Promise<string | undefined> {
  const property = fc.asyncProperty(schedules(stacks), async (schedule) => (await simulate(schedule, options)).violations.length === 0)
  const { failed, counterexample, errorInstance } = await fc.check(property, { numRuns, seed, endOnFailure: !shrinks })
  if (!failed) return undefined
  const [schedule] = counterexample as [Schedule]
  return errorInstance instanceof Error && !/returning false/.test(errorInstance.message) ? errorInstance.stack : toldOf(schedule, await simulate(schedule, options))
}

test.each(STACKS)('what processes agree about holds, whatever happens: %s', async (stack) => {
  expect(await found([stack], 300, 20_261)).toBeUndefined()
}, 120_000)

test('a schedule comes to the same each time', async () => {
  const seen: string[] = []
  const plain = (name: string, value: unknown): unknown => (name === 'starter' ? undefined : value)
  for (const schedule of fc.sample(schedules(STACKS), { seed: 7, numRuns: 20 })) {
    const [once, again] = [await simulate(schedule, MANAGERS), await simulate(schedule, MANAGERS)]
    expect(JSON.stringify(again.history.records, plain)).toBe(JSON.stringify(once.history.records, plain))
    expect(again.events).toBe(once.events)
    seen.push(...once.history.records.map(({ kind }) => kind))
  }
  expect(new Set(seen)).toEqual(new Set(['note', 'read', 'write', 'removal', 'computed', 'fault', 'settled']))
}, 60_000)

describe('a store that does not keep its promise is found out', () => {
  const broken: Record<string, () => SharedStore> = {
    'stores without a lease': () =>
      new (class extends SharedStore {
        override standsIn(): boolean {
          return true
        }
      })(),
    'a set empties no line': () =>
      new (class extends SharedStore {
        override put(...[name, entry, options, now]: Parameters<SharedStore['put']>): ReturnType<SharedStore['put']> {
          const line = this.lines.get(name)
          const outcome = super.put(name, entry, options, now)
          if (options.announces !== undefined && line !== undefined) this.lines.set(name, line)
          return outcome
        }
      })(),
    'a message is lost, and the next one does not show it': () =>
      new (class extends SharedStore {
        #said = 0
        override append(message: Parameters<SharedStore['append']>[0]): string {
          return message.text.includes('"key"') && ++this.#said % 4 === 0 ? 'nowhere' : super.append(message)
        }
      })(),
    'a set is told of to nobody': () =>
      new (class extends SharedStore {
        override put(...[name, entry, { announces, ...options }, now]: Parameters<SharedStore['put']>): ReturnType<SharedStore['put']> {
          if (announces !== undefined) this.lines.delete(name)
          return super.put(name, entry, options, now)
        }
      })(),
  }
  test.each(Object.keys(broken))('%s', async (how) => {
    const told = await found(['memory'], 10_000, 1, { ...MANAGERS, store: broken[how] as () => SharedStore }, false)
    expect(told).toMatch(/^(?:untrue|split|twice|stale): /m)
  }, 120_000)
})
