import { describe, expect, test } from '@jest/globals'
import type { OperationOptions } from '@thermocline/backend'
import { openLimits } from '../src/open-limit.js'
import { Turns } from '../src/turns.js'

const step = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Work that ends when it is told to. */
function work(turns: Turns, options: OperationOptions = {}, begun = false): { readonly begunAt: () => boolean; end: () => void; readonly done: Promise<void> } {
  let isBegun = false
  let end = (): void => undefined
  const ended = new Promise<void>((resolve) => (end = resolve))
  const done = turns.during(options, () => ((isBegun = true), ended), begun)
  return { begunAt: () => isBegun, end: () => end(), done }
}

describe('operations on the disk', () => {
  test('get turns in the order in which they came, so many at once', async () => {
    const turns = new Turns(2)
    const all = Array.from({ length: 5 }, () => work(turns))
    await step()
    expect(all.map((one) => one.begunAt())).toEqual([true, true, false, false, false])
    all[1]?.end()
    await step()
    expect(all.map((one) => one.begunAt())).toEqual([true, true, true, false, false])
    for (const one of all) one.end()
    await Promise.all(all.map((one) => one.done))
    expect(turns.waiting).toBe(0)
    expect(turns.tryTake()).toBe(true)
  })

  test('have their time renewed while they wait and others make progress', async () => {
    const turns = new Turns(1)
    let renewed = 0
    const first = work(turns)
    const second = work(turns)
    const waiting = work(turns, { progress: () => renewed++ })
    first.end()
    await step()
    expect(renewed).toBeGreaterThan(0)
    const before = renewed
    second.end()
    waiting.end()
    await waiting.done
    expect(renewed).toBe(before + 1) // its turn
  })

  test('that are abandoned while they wait leave at once, and nobody loses a turn by it', async () => {
    const turns = new Turns(1)
    const first = work(turns)
    const abandoned = new AbortController()
    const second = work(turns, { signal: abandoned.signal })
    let leave = (): void => undefined
    const third = work(turns, { onAbort: (listener) => ((leave = listener), true) })
    const fourth = work(turns)
    await step()
    abandoned.abort(new Error('left'))
    leave()
    await expect(second.done).rejects.toMatchObject({ code: 'timeout', concerns: 'key' })
    await expect(third.done).rejects.toMatchObject({ code: 'timeout' })
    first.end()
    await step()
    expect([second, third, fourth].map((one) => one.begunAt())).toEqual([false, false, true])
    fourth.end()
    await fourth.done
  })

  test('that fail give their turn back', async () => {
    const turns = new Turns(1)
    await expect(turns.during({}, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    await expect(turns.during({}, () => { throw new Error('at once') })).rejects.toThrow('at once')
    expect(await turns.during({}, () => Promise.resolve('yes'))).toBe('yes')
  })

  test('that are new and pieces of streams that were begun take turns', async () => {
    const turns = new Turns(1)
    const order: string[] = []
    const noting = (name: string, begun: boolean): Promise<void> => turns.during({}, () => Promise.resolve(void order.push(name)), begun)
    const first = work(turns)
    const all = [...['a', 'b', 'c'].map((name) => noting(name, false)), noting('piece 1', true), noting('piece 2', true)]
    first.end()
    await Promise.all(all)
    expect(order.indexOf('piece 1')).toBeLessThan(2)
    expect(order.indexOf('piece 2')).toBeLessThan(4)
    expect(order.filter((name) => name.length === 1)).toEqual(['a', 'b', 'c'])
  })

  test('are refused when very many wait, and that is no failure of the disk', async () => {
    const turns = new Turns(1)
    const first = work(turns)
    const waiting = Array.from({ length: 100_000 }, () => turns.wait({}))
    await expect(turns.wait({})).rejects.toMatchObject({ code: 'failed', concerns: 'key' })
    first.end()
    for (const one of waiting) {
      await one
      turns.done()
    }
  })
})

describe('how many files are open at once', () => {
  test.each([
    [64, 4],
    [256, 4],
    [1024, 4],
    [1_048_576, 4],
    [Number.POSITIVE_INFINITY, 64],
  ])('follows from the limit of %s and %s threads, and leaves most of it to the application', (limit, threads) => {
    const { turns, held } = openLimits(limit, threads)
    expect(turns).toBeGreaterThanOrEqual(2)
    expect(turns).toBeLessThanOrEqual(64)
    expect(held).toBeGreaterThan(0)
    if (Number.isFinite(limit)) expect(3 * turns + held).toBeLessThanOrEqual(limit / 4)
  })
})
