import { beforeEach, describe, expect, jest, test } from '@jest/globals'
import { Backoff } from '../src/layers/backoff.js'
import { ManualClock } from './support/manual-clock.js'

let clock: ManualClock
let tried: number[]
const attempt = (): void => void tried.push(clock.now() - startedAt)
let startedAt: number

beforeEach(() => {
  clock = new ManualClock()
  startedAt = clock.now()
  tried = []
})

describe('trying again', () => {
  test('waits twice as long each time, up to the longest wait, and from the beginning after a reset', async () => {
    const backoff = new Backoff({ clock, firstMs: 100, longestMs: 400 })
    const again = (): void => {
      attempt()
      if (tried.length === 4) backoff.reset()
      if (tried.length < 6) backoff.schedule(again)
    }
    backoff.schedule(again)
    for (let step = 0; step < 200; step++) await clock.advance(10)
    expect(tried).toEqual([100, 300, 700, 1100, 1200, 1400])
  })

  test('happens once, however often it is asked for while it waits', async () => {
    const backoff = new Backoff({ clock, firstMs: 100, longestMs: 400 })
    backoff.schedule(attempt)
    backoff.schedule(attempt)
    for (let step = 0; step < 20; step++) await clock.advance(10)
    expect(tried).toEqual([100])
    backoff.schedule(attempt)
    for (let step = 0; step < 30; step++) await clock.advance(10)
    expect(tried).toEqual([100, 400]) // 200 after 200: the second question has not made the wait longer
  })

  test('happens at once when it waits, and then not again', async () => {
    const backoff = new Backoff({ clock, firstMs: 100, longestMs: 400 })
    backoff.now()
    expect(tried).toEqual([])
    backoff.schedule(attempt)
    backoff.now()
    expect(tried).toEqual([0])
    for (let step = 0; step < 50; step++) await clock.advance(10)
    expect(tried).toEqual([0])
  })

  test('does not happen once it is cancelled', async () => {
    const backoff = new Backoff({ clock, firstMs: 100, longestMs: 400 })
    backoff.schedule(attempt)
    backoff.cancel()
    for (let step = 0; step < 50; step++) await clock.advance(10)
    expect(tried).toEqual([])
  })

  test('waits shorter by chance, by as much as it is told', async () => {
    const random = jest.spyOn(Math, 'random').mockReturnValue(0.5)
    try {
      const backoff = new Backoff({ clock, firstMs: 100, longestMs: 400, jitter: 0.5 })
      backoff.schedule(attempt)
      for (let step = 0; step < 50; step++) await clock.advance(5)
      expect(tried).toEqual([75])
    } finally {
      random.mockRestore()
    }
  })
})
