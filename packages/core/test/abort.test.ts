import { describe, expect, test } from '@jest/globals'
import { getEventListeners } from 'node:events'
import { abortable, onAbort } from '../src/flights/abort.js'
import { turns } from './support/manual-clock.js'

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

describe('onAbort', () => {
  test('calls back once when the signal fires', () => {
    const controller = new AbortController()
    let called = 0
    onAbort(controller.signal, () => called++)
    expect(called).toBe(0)
    controller.abort()
    controller.abort()
    expect(called).toBe(1)
  })

  test('gives a signal one listener, however many callers share it, and takes it away with the last', () => {
    const { signal } = new AbortController()
    const stops = Array.from({ length: 50 }, () => onAbort(signal, () => undefined))
    expect(listeners(signal)).toBe(1)
    for (const stop of stops.slice(1)) stop()
    expect(listeners(signal)).toBe(1)
    stops[0]?.()
    expect(listeners(signal)).toBe(0)
  })

  test('calls every caller who still listens, also when one of them leaves or joins meanwhile', () => {
    const controller = new AbortController()
    const called: string[] = []
    onAbort(controller.signal, () => {
      called.push('first')
      stopThird()
    })
    const stopSecond = onAbort(controller.signal, () => called.push('second'))
    const stopThird = onAbort(controller.signal, () => called.push('third'))
    stopSecond()
    controller.abort()
    expect(called[0]).toBe('first')
    expect(called).not.toContain('second')
    expect(listeners(controller.signal)).toBe(0)
  })

  test('goes on after everybody had left and somebody came back', () => {
    const controller = new AbortController()
    let called = 0
    const stop = onAbort(controller.signal, () => called++)
    stop()
    stop()
    onAbort(controller.signal, () => called++)
    stop()
    controller.abort()
    expect(called).toBe(1)
  })

  test('to stop listening after the signal fired is harmless', () => {
    const controller = new AbortController()
    const stop = onAbort(controller.signal, () => undefined)
    controller.abort()
    stop()
    expect(listeners(controller.signal)).toBe(0)
  })
})

describe('abortable', () => {
  test('without a signal is the work itself', () => {
    const work = Promise.resolve(1)
    expect(abortable(work, undefined)).toBe(work)
  })

  test("has the work's outcome and leaves no listener behind", async () => {
    const { signal } = new AbortController()
    expect(await abortable(Promise.resolve(1), signal)).toBe(1)
    const failure = new Error('own')
    await expect(abortable(Promise.reject(failure), signal)).rejects.toBe(failure)
    await turns()
    expect(listeners(signal)).toBe(0)
  })

  test('rejects too when the signal had fired before: the work itself may have done that', async () => {
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await expect(abortable(new Promise(() => undefined), controller.signal)).rejects.toBe(controller.signal.reason)
    await expect(abortable(Promise.reject(new Error('late')), controller.signal)).rejects.toBe(controller.signal.reason)
    await turns()
  })

  test("rejects with the signal's own reason while the work goes on, whose late failure nobody has to handle", async () => {
    const controller = new AbortController()
    let fail!: (error: unknown) => void
    const work = abortable(new Promise((_, reject) => (fail = reject)), controller.signal)
    const reason = { any: 'thing' }
    controller.abort(reason)
    await expect(work).rejects.toBe(reason)
    fail(new Error('late'))
    await turns()
    expect(listeners(controller.signal)).toBe(0)
  })
})
