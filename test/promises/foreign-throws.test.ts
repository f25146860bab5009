import { describe, expect, jest, test } from '@jest/globals'
import { asCacheError, isCacheError, messageOf } from '@thermocline/backend'
import { TieredCacheManager, type LogFields, type Logger, type TieredCacheManagerOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { Faults, FakeClock } from '@thermocline/testkit'
import { afterwards } from '../support/afterwards.js'

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const THROWN: readonly (readonly [string, () => unknown])[] = [
  ['an object without a prototype', () => Object.create(null) as object],
  ['a symbol', () => Symbol('s')],
  ['undefined', () => undefined],
  ['a revoked proxy', revoked],
  ['an object whose toString throws', () => ({ toString: () => { throw new Error('no') } })],
  ['an object whose message throws', () => Object.defineProperty({}, 'message', { get: () => { throw new Error('no') } })],
  ['an object whose message has no text', () => ({ message: Object.create(null) as object })],
  ['an object whose name throws', () => Object.defineProperty({}, 'name', { get: () => { throw new Error('no') } })],
]

let unhandled: unknown[] = []
function watchProcess(): void {
  unhandled = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  afterwards(() => void process.off('unhandledRejection', note))
}

/** Every verb, with a tier that fails, a compute that fails, and one whose value cannot be stored. */
async function useEverything(options: Partial<TieredCacheManagerOptions>): Promise<void> {
  watchProcess()
  const faults = new Faults()
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend({ maxBytes: 64_000 }) }, warm: { backend: new MemoryBackend({ maxBytes: 64_000 }), layers: [faults.layer] } }, ...options })
  afterwards(() => (faults.heal(), cache.close()))
  const acme = cache.tenant('acme')
  const throwing = options.logger as unknown as { thrown?: () => unknown } | undefined
  for (const name of ['hit', 'miss', 'set', 'error', 'compute', 'delete', 'clear', 'degraded', 'recovered', 'promote', 'evict'] as const) {
    if (throwing?.thrown !== undefined) cache.on(name, () => { throw throwing.thrown?.() })
    if (throwing?.thrown !== undefined) cache.on(name, async () => Promise.reject(throwing.thrown?.()))
  }
  expect(await acme.getOrCompute('a', () => 1)).toBe(1)
  expect(await acme.getOrCompute('a', () => 2)).toBe(1)
  await expect(acme.getOrCompute('b', () => Promise.reject(new Error('own')))).rejects.toThrow('own')
  await expect(acme.getOrCompute('c', () => { throw new Error('own, too') })).rejects.toThrow('own, too')
  await acme.getOrCompute('d', () => Buffer.alloc(100_000))
  faults.inject({ fail: 'access-denied' })
  await acme.set('e', 1)
  faults.heal()
  await acme.setMany([['f', 1]])
  expect((await acme.getMany(['f'])).get('f')).toBe(1)
  expect(Buffer.concat(await (await acme.getOrComputeStream('s', () => ['text'])).toArray() as Buffer[]).toString()).toBe('text')
  await acme.getStream('s').then((stream) => stream?.toArray())
  await acme.delete('a')
  await acme.clear()
  await cache.stats()
  await cache.flush()
  await cache.close()
  await new Promise((resolve) => setImmediate(resolve))
  expect(unhandled).toEqual([])
}

describe.each(THROWN)('%s', (_what, thrown) => {
  test('thrown or rejected with by listeners and by the logger ends nothing', async () => {
    const logger = { thrown, info: () => { throw thrown() }, warn: () => { throw thrown() } }
    await useEverything({ logger: logger })
    await useEverything({ logger: { thrown, info: async () => Promise.reject(thrown()), warn: async () => Promise.reject(thrown()) } as unknown as Logger })
  })

  test('thrown by telemetry fails no verb', async () => {
    const fail = (): never => { throw thrown() }
    const span = { isRecording: fail, end: fail, setAttribute: fail, recordException: fail, setStatus: fail, spanContext: fail }
    for (const tracerProvider of [{ getTracer: fail }, { getTracer: () => ({ startSpan: fail }) }, { getTracer: () => ({ startSpan: () => span }) }, { getTracer: () => ({ startSpan: () => ({ ...span, isRecording: () => true }) }) }]) {
      const instrument = { record: fail, add: fail, addCallback: () => undefined, removeCallback: fail }
      const meter = { createHistogram: () => instrument, createCounter: () => instrument, createObservableCounter: () => instrument, createObservableGauge: () => instrument }
      for (const meterProvider of [{ getMeter: fail }, { getMeter: () => meter }, { getMeter: () => ({ ...meter, createHistogram: fail }) }]) {
        await useEverything({ logger: false, telemetry: { tracerProvider, meterProvider } as unknown as NonNullable<TieredCacheManagerOptions['telemetry']> })
      }
    }
  })

  test('thrown by a clock fails no verb', async () => {
    const fail = (): never => { throw thrown() }
    await useEverything({ logger: false, clock: { now: fail } })
    await useEverything({ logger: false, clock: { now: fail, recent: fail, monotonic: fail, schedule: fail, afterPendingIo: fail } })
    await useEverything({ logger: false, clock: { now: () => Number.NaN } })
  })

  test('thrown by a store or a codec is described, whatever it is', () => {
    expect(typeof messageOf(thrown())).toBe('string')
    expect(isCacheError(thrown())).toBe(false)
    expect(asCacheError(thrown(), { operation: 'get', backend: 'x' })).toMatchObject({ code: 'failed' })
  })
})

describe('what is logged', () => {
  function outage(logger?: Logger): { run: () => Promise<void> } {
    const clock = new FakeClock()
    const faults = new Faults()
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend(), layers: [faults.layer] } }, clock, ...(logger === undefined ? {} : { logger }) })
    afterwards(() => cache.close())
    return {
      run: async () => {
        faults.inject({ fail: 'unavailable' })
        await cache.tenant('acme').get('k')
        faults.heal()
        for (let n = 0; n < 100; n++) await clock.advance(100)
      },
    }
  }

  test('goes to stderr, where nobody gives a logger: stdout is the program’s own', async () => {
    const written: string[] = []
    const out = jest.spyOn(process.stdout, 'write').mockImplementation(() => true)
    const ways = (['log', 'info', 'debug', 'warn', 'error'] as const).map((name) => jest.spyOn(console, name).mockImplementation((...args: unknown[]) => void written.push(`${name} ${args.map(String).join('|')}`)))
    try {
      await outage().run()
      expect(out).not.toHaveBeenCalled()
    } finally {
      for (const spy of [out, ...ways]) spy.mockRestore()
    }
    expect(written).toEqual([expect.stringMatching(/^warn thermocline: tier hot \(memory\) is degraded[^|]*$/), 'warn thermocline: tier hot (memory) has recovered'])
  })

  test('has its facts apart, and a logger of texts alone still does', async () => {
    const lines: (readonly [string, string, LogFields | undefined])[] = []
    await outage({ info: (message, fields) => void lines.push(['info', message, fields]), warn: (message, fields) => void lines.push(['warn', message, fields]) }).run()
    expect(lines).toEqual([
      ['warn', expect.stringContaining('is degraded'), { tier: 'hot', backend: 'memory', circuit: 'read', code: 'unavailable', operation: 'get' }],
      ['info', 'thermocline: tier hot (memory) has recovered', { tier: 'hot', backend: 'memory', circuit: expect.any(String) }],
    ])
    const texts: string[] = []
    const old = { info: (message: string): void => void texts.push(message), warn: (message: string): void => void texts.push(message) }
    await outage(old).run()
    expect(texts).toEqual([expect.stringContaining('is degraded'), expect.stringContaining('has recovered')])
  })
})
