import { describe, expect, test } from '@jest/globals'
import { isStreamed, StreamedEntry, systemClock, validateKey, WrappedBackend, type CacheBackend, type PayloadStream } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { bytesOf, cut, describeBackend, FakeClock, Faults, HandFedStream, patterned, streamOf, type Subject, type Feature } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { scopeOf } from './support/shelf.js'

const bytes = patterned(1_500_000)
const scope = scopeOf('acme')
const key = validateKey('k')

class Other extends WrappedBackend {}

const subject = (wrap: (backend: CacheBackend) => CacheBackend): Subject => ({ backend: wrap(new FileSystemBackend({ basePath: temporaryDirectory() })) })
/** The directory itself goes through all of it in conformance.test.ts. */
const WITHOUT: readonly Feature[] = ['reopening', 'payload limit', 'room', 'damage', 'outage']
describeBackend({ name: 'fs under a layer that changes nothing', create: () => subject((backend) => new Other(backend)), without: WITHOUT })
describeBackend({ name: 'fs under faults, of which there are none', create: () => subject(new Faults().layer), without: WITHOUT })

function bench(clock = systemClock): { faults: Faults; put: (payload: PayloadStream) => Promise<boolean>; get: () => Promise<PayloadStream | undefined> } {
  const faults = new Faults()
  const backend = faults.layer(new FileSystemBackend({ basePath: temporaryDirectory() }))
  const detach = backend.attach({ clock, report: () => undefined, evicted: () => undefined, demotes: () => false })
  afterwards(async () => {
    detach()
    await backend[Symbol.asyncDispose]()
  })
  return {
    faults,
    put: async (payload) => {
      const now = clock.now()
      return backend.put(scope, key, new StreamedEntry(payload, { createdAt: now, expiresAt: now + 60_000 }), { onlyIfAbsent: false, keepUntil: now + 60_000 })
    },
    get: async () => {
      const entry = await backend.get(scope, key, { want: 'stream', touch: false })
      return entry !== undefined && isStreamed(entry) ? entry.payload : undefined
    },
  }
}

describe('a fault in the body', () => {
  test('breaks a read off after so many bytes, with its code', async () => {
    const { faults, put, get } = bench()
    await put(streamOf([bytes]))
    faults.injectBody({ fail: 'unavailable', afterBytes: 400_000, retryable: true }, 'get')
    let seen = 0
    const reading = (async () => {
      for await (const chunk of (await get())!.chunks()) seen += chunk.length
    })()
    await expect(reading).rejects.toMatchObject({ code: 'unavailable', retryable: true })
    expect(seen).toBe(400_000)
    faults.heal()
    expect((await bytesOf((await get())!)).equals(bytes)).toBe(true)
  })

  test('breaks a read off at its very end', async () => {
    const { faults, put, get } = bench()
    await put(streamOf([bytes]))
    faults.injectBody({ fail: 'unavailable', afterBytes: bytes.length }, 'get')
    await expect(bytesOf((await get())!)).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('breaks a write off, and nothing is stored', async () => {
    const { faults, put, get } = bench()
    faults.injectBody({ fail: 'unavailable', afterBytes: 400_000 }, 'put')
    const source = streamOf(cut(bytes, 70_000))
    await expect(put(source)).rejects.toMatchObject({ code: 'unavailable' })
    expect(source.isReleased).toBe(true)
    expect(await get()).toBeUndefined()
  })

  test('stalls until it is released, or breaks off when it is dropped', async () => {
    const { faults, put, get } = bench()
    await put(streamOf([bytes]))
    for (const end of ['release', 'drop'] as const) {
      faults.injectBody({ stall: true, afterBytes: 300_000 }, 'get')
      const reading = bytesOf((await get())!)
      reading.catch(() => undefined)
      while (faults.hanging === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      faults[end]()
      if (end === 'release') expect((await reading).equals(bytes)).toBe(true)
      else await expect(reading).rejects.toMatchObject({ code: 'unavailable' })
    }
  })

  test('that stalls ends when the reader cancels', async () => {
    const { faults, put, get } = bench()
    await put(streamOf([bytes]))
    faults.injectBody({ stall: true }, 'get')
    const payload = (await get())!
    const reading = bytesOf(payload)
    reading.catch(() => undefined)
    while (faults.hanging === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    payload.cancel()
    await expect(reading).rejects.toMatchObject({ code: 'failed' })
  })

  test('makes each chunk late by the clock', async () => {
    const clock = new FakeClock()
    const { faults, put } = bench(clock)
    faults.injectBody({ slowMs: 1000 }, 'put')
    const putting = put(streamOf(cut(bytes, 300_000)))
    let done = false
    void putting.then(() => (done = true))
    await clock.advance(4000)
    expect(done).toBe(false)
    await clock.advance(2000)
    expect(done).toBe(true)
  })

  test('heals for the streams that begin after', async () => {
    const { faults, put, get } = bench()
    faults.injectBody({ fail: 'failed' }).heal('put')
    await put(streamOf([bytes]))
    await expect(bytesOf((await get())!)).rejects.toMatchObject({ code: 'failed' })
    faults.heal('get')
    expect((await bytesOf((await get())!)).equals(bytes)).toBe(true)
  })
})

describe('a stream that is fed by hand', () => {
  test('says what was taken of it and whether it was let go of', async () => {
    const source = new HandFedStream()
    const chunks = source.chunks()[Symbol.asyncIterator]()
    const given = source.give(Buffer.from('one'))
    expect(await chunks.next()).toMatchObject({ done: false })
    const next = chunks.next()
    await given
    expect([source.taken, source.isReleased]).toEqual([3, false])
    source.cancel()
    await expect(next).rejects.toThrow('cancelled')
    expect(source.isReleased).toBe(true)
    expect(() => source.chunks()).toThrow(TypeError)
  })
})
