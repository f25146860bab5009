import { describe, expect, test } from '@jest/globals'
import { systemClock } from '@thermocline/backend'
import { oncePerTurn } from '../src/clock/once-per-turn.js'
import { turns } from '../../core/test/support/manual-clock.js'

describe('oncePerTurn', () => {
  test('reads once within a turn of the event loop, microtasks included, and again in the next', async () => {
    let reads = 0
    const value = oncePerTurn(() => ++reads)
    expect(Array.from({ length: 10 }, value)).toEqual(Array.from({ length: 10 }, () => 1))
    await Promise.resolve()
    expect(value()).toBe(1)
    await turns(1)
    expect([value(), value()]).toEqual([2, 2])
  })

  test('reads each time for a while where it is hardly used: noticing the end of a turn costs more', async () => {
    let reads = 0
    const value = oncePerTurn(() => ++reads)
    value()
    await turns(1)
    for (let n = 0; n < 64; n++) {
      value()
      expect(reads).toBe(2 + n)
    }
    expect(Array.from({ length: 300 }, value).at(-1)).toBe(reads)
    expect(reads).toBe(67)
    await turns(1)
    value()
    value()
    expect(reads).toBe(68) // it was worth it
  })

  test('reads again after some uses: a loop that never yields sees the value change', () => {
    let now = 0
    const value = oncePerTurn(() => now)
    value()
    now = 1
    let uses = 0
    while (value() === 0) uses++
    expect(uses).toBeLessThanOrEqual(256)
    expect(uses).toBeGreaterThan(100)
  })

  test('keeps nothing while it may not', () => {
    let reads = 0
    const value = oncePerTurn(() => ++reads, () => reads > 2)
    expect([value(), value(), value(), value(), value()]).toEqual([1, 2, 3, 3, 3])
  })

  test('keeps undefined and false too', () => {
    let reads = 0
    const value = oncePerTurn(() => {
      reads++
    })
    value()
    value()
    expect(reads).toBe(1)
  })

  test('lets a failed reading be tried again', () => {
    let reads = 0
    const value = oncePerTurn(() => {
      if (++reads === 1) throw new Error('not yet')
      return reads
    })
    expect(value).toThrow('not yet')
    expect([value(), value()]).toEqual([2, 2])
  })
})

describe('the recent time of the system clock', () => {
  test('is never ahead of now, and follows it in the next turn', async () => {
    const first = systemClock.recent()
    expect(first).toBeLessThanOrEqual(systemClock.now())
    const until = first + 5
    while (systemClock.now() < until);
    await turns(1)
    expect(systemClock.recent()).toBeGreaterThanOrEqual(until)
  })

  test('follows a Date.now that a test replaces, at once', () => {
    const real = Date.now
    try {
      Date.now = () => 1
      systemClock.recent() // what the turn had kept may still be handed out a few times
      for (let i = 0; i < 300; i++) systemClock.recent()
      Date.now = () => 42
      expect(systemClock.recent()).toBe(42)
    } finally {
      Date.now = real
    }
  })
})
