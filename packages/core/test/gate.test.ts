import { describe, expect, test } from '@jest/globals'
import { Deadlines } from '../src/layers/deadlines.js'
import { Gate } from '../src/layers/gate.js'
import { AskedTime } from '../src/tiers/asked-time.js'
import { ManualClock } from './support/manual-clock.js'

/** Timers, and a gate of a store that is given so many operations at once. */
function gateOf(width: number): { clock: ManualClock; deadlines: Deadlines; gate: Gate } {
  const clock = new ManualClock()
  const deadlines = new Deadlines(clock)
  deadlines.schedule(1e9, () => undefined) // time counts while something is under way
  return { clock, deadlines, gate: new Gate({ deadlines, width }) }
}

describe('a gate', () => {
  test('lets in as many as the store is given at once, and the others in their order as places become free', () => {
    const { gate } = gateOf(2)
    const admitted: number[] = []
    expect([gate.enter(), gate.enter(), gate.enter()]).toEqual([true, true, false])
    for (const name of [1, 2, 3]) expect(gate.wait({ admitted: () => admitted.push(name) })).toBe(true)
    expect([gate.waiting, admitted]).toEqual([3, []])
    gate.leave()
    expect([gate.waiting, admitted]).toEqual([2, [1]])
    gate.leave()
    gate.leave()
    expect([gate.waiting, admitted]).toEqual([0, [1, 2, 3]])
    expect(gate.enter()).toBe(false)
    gate.leave()
    gate.leave()
    expect([gate.enter(), gate.enter(), gate.enter()]).toEqual([true, true, false])
  })

  test('lets nobody overtake those who wait', () => {
    const { gate } = gateOf(1)
    gate.enter()
    let overtook: boolean | undefined
    gate.wait({
      admitted: () => {
        gate.leave()
        overtook = gate.enter()
      },
    })
    const admitted: string[] = []
    gate.wait({ admitted: () => admitted.push('second') })
    gate.leave()
    expect([overtook, admitted]).toEqual([false, ['second']])
  })

  test('admits any number that end at once, in their order, though more come meanwhile', () => {
    const { gate } = gateOf(1)
    gate.enter()
    const admitted: number[] = []
    const come = (name: number): boolean => gate.wait({
      admitted: () => {
        admitted.push(name)
        if (name < 5000) come(name + 10_000)
        gate.leave()
      },
    })
    for (let name = 0; name < 10_000; name++) come(name)
    gate.leave()
    expect(admitted).toEqual([...Array.from({ length: 10_000 }, (_, at) => at), ...Array.from({ length: 5000 }, (_, at) => at + 10_000)])
    expect([gate.waiting, gate.enter(), gate.enter()]).toEqual([0, true, false])
  })

  test('knows until when something waited', async () => {
    const { clock, deadlines, gate } = gateOf(1)
    gate.enter()
    gate.leave()
    expect(gate.congestedUntil).toBe(Number.NEGATIVE_INFINITY) // never
    gate.enter()
    gate.wait({ admitted: () => undefined })
    await clock.advance(30)
    expect(gate.congestedUntil).toBe(deadlines.now())
    gate.leave()
    const until = deadlines.now()
    await clock.advance(30)
    gate.leave()
    expect(gate.congestedUntil).toBe(until)
  })
})

describe('the time that a store has been asked for', () => {
  test('is counted from the moment in which nothing waits for its turn any more', async () => {
    const { clock, deadlines, gate } = gateOf(1)
    const time = new AskedTime(deadlines, gate)
    const startedAt = time.now()
    await clock.advance(40)
    expect(time.since(startedAt)).toBe(40)
    gate.enter()
    gate.wait({ admitted: () => undefined })
    await clock.advance(40)
    expect(time.since(startedAt)).toBe(0)
    gate.leave()
    await clock.advance(40)
    expect(time.since(startedAt)).toBe(40)
    expect(time.since(time.now())).toBe(0)
    expect(new AskedTime(deadlines, undefined).since(startedAt)).toBe(120)
  })

  test('calls back when so much of it has passed, and not once that is cancelled', async () => {
    const { clock, deadlines, gate } = gateOf(1)
    const time = new AskedTime(deadlines, gate)
    const called: string[] = []
    time.schedule(100, () => called.push('in time'))
    const cancel = time.schedule(100, () => called.push('cancelled'))
    const cancelLater = time.schedule(100, () => called.push('cancelled later'))
    gate.enter()
    gate.wait({ admitted: () => undefined })
    await clock.advance(60)
    cancel()
    gate.leave()
    await clock.advance(60) // the timers have looked, and found that they have to wait on
    cancelLater()
    expect(called).toEqual([])
    await clock.advance(39)
    expect(called).toEqual([])
    await clock.advance(1)
    expect(called).toEqual(['in time'])
    await clock.advance(1000)
    expect(called).toEqual(['in time'])
  })
})
