import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, timeout } from '@thermocline/core'
import type { CacheError } from '@thermocline/backend'
import { ManualClock, turns, watch } from './support/manual-clock.js'
import { call, ScriptedBackend } from './support/scripted-backend.js'

const BUDGET = 250

/** A clock in a process that stands still for a while: its timers are late. */
class StallingClock extends ManualClock {
  #behindMs = 0

  override monotonic = (): number => this.now() + this.#behindMs

  /** The event loop stands still for so long, and goes on. */
  async stall(ms: number): Promise<void> {
    this.#behindMs += ms
    await this.advance(50) // the timer that was due meanwhile
  }
}

describe('budgets', () => {
  test.each([320, 1050, 20_000])('time in which the event loop stood still for %d ms is not the store\'s', async (stallMs) => {
    const clock = new StallingClock()
    const store = new ScriptedBackend()
    store.answer = () => new Promise(() => undefined)
    const seen = watch(call(timeout({ clock, budgetMs: BUDGET })(store), 'get'))
    await clock.stall(stallMs)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(BUDGET - 50)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(50)
    expect((seen.outcome as CacheError).code).toBe('timeout')
  })

  test('a store that is silent is left also by a process that is never on time', async () => {
    const clock = new StallingClock()
    const store = new ScriptedBackend()
    store.answer = () => new Promise(() => undefined)
    const seen = watch(call(timeout({ clock, budgetMs: BUDGET })(store), 'get'))
    for (let turn = 0; turn < 26; turn++) await clock.stall(400)
    expect((seen.outcome as CacheError).code).toBe('timeout')
  })

  test('many operations at once have one timer', async () => {
    const clock = new ManualClock()
    const store = new ScriptedBackend()
    store.answer = () => new Promise(() => undefined)
    const backends = [timeout({ clock, budgetMs: BUDGET })(store), timeout({ clock, budgetMs: 2 * BUDGET })(store)]
    const seen = backends.flatMap((backend) => Array.from({ length: 20 }, () => watch(call(backend, 'get'))))
    expect(clock.pending).toBe(1)
    await clock.advance(BUDGET)
    expect(seen.filter(({ outcome }) => outcome === 'waiting')).toHaveLength(20)
    await clock.advance(BUDGET)
    expect(seen.filter(({ outcome }) => outcome === 'waiting')).toHaveLength(0)
    expect(clock.pending).toBe(0)
  })
})

/** A store that takes its time, and says how many operations it had at once. */
class SlowStore extends ScriptedBackend {
  running = 0
  most = 0
  stored = 0

  constructor(clock: ManualClock, takesMs: number) {
    super()
    this.answer = (operation) => {
      this.most = Math.max(this.most, ++this.running)
      return new Promise((resolve) => {
        clock.schedule(takesMs, () => {
          this.running--
          if (operation === 'put') this.stored++
          resolve(operation === 'put' ? true : undefined)
        })
      })
    }
  }
}

async function until(clock: ManualClock, work: Promise<unknown>): Promise<void> {
  const seen = watch(work)
  for (let passed = 0; seen.outcome === 'waiting' && passed < 600_000; passed += 100) await clock.advance(100)
  await work
}

describe('a queue before each store', () => {
  test('a burst waits there, which costs no budget: everything is stored, and the tier is in use', async () => {
    const clock = new ManualClock()
    const store = new SlowStore(clock, 200)
    const cache = new TieredCacheManager({ tiers: { disk: { backend: store, budget: '1s', concurrency: 8 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    const errors: CacheError[] = []
    cache.on('error', ({ error }) => errors.push(error))
    // each waits for 25 reads, then for 25 writes, of 200 ms: ten budgets
    await until(clock, Promise.all(Array.from({ length: 200 }, (_, at) => acme.getOrCompute(`k${at}`, () => at))))
    expect(errors).toEqual([])
    expect(store.stored).toBe(200)
    expect(store.most).toBeLessThanOrEqual(16) // reads and writes
    expect((await cache.stats()).tiers['disk']?.state).toBe('ok')
    await until(clock, cache.close())
  })

  test('writes of one key that wait behind each other and behind others are all carried out', async () => {
    const clock = new ManualClock()
    const store = new SlowStore(clock, 200)
    const cache = new TieredCacheManager({ tiers: { disk: { backend: store, budget: '1s', concurrency: 1 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    const others = Array.from({ length: 20 }, (_, at) => acme.set(`other${at}`, at))
    const same = [acme.set('k', 1), acme.set('k', 2), acme.set('k', 3)]
    await until(clock, Promise.all([...others, ...same]))
    expect(store.stored).toBe(23)
    const cleared = watch(acme.clear())
    await until(clock, Promise.all([acme.set('k', 4), acme.set('other', 5)]))
    expect(cleared.outcome).toBeUndefined()
    expect((await cache.stats()).tiers['disk']).toMatchObject({ state: 'ok', pendingInvalidations: 0 })
    await until(clock, cache.close())
  })

  test('what the queue cannot take in time is left out, and says so; the rest is stored', async () => {
    const clock = new ManualClock()
    const store = new SlowStore(clock, 200)
    const cache = new TieredCacheManager({ tiers: { disk: { backend: store, budget: '1s', concurrency: 1 } }, clock, logger: false })
    const codes: string[] = []
    cache.on('error', ({ error }) => codes.push(error.code))
    const acme = cache.tenant('acme')
    await until(clock, Promise.all(Array.from({ length: 200 }, (_, at) => acme.set(`k${at}`, at))))
    expect(store.stored).toBeGreaterThanOrEqual(145) // in 30 s
    expect(store.stored).toBeLessThan(155)
    expect(new Set(codes)).toEqual(new Set(['busy']))
    expect((await cache.stats()).tiers['disk']?.state).toBe('ok')
    await until(clock, cache.close())
  })

  test('what waits is refused at once when the store stops answering', async () => {
    const clock = new ManualClock()
    const store = new ScriptedBackend()
    store.answer = () => new Promise(() => undefined)
    const cache = new TieredCacheManager({ tiers: { disk: { backend: store, budget: '1s', concurrency: 4 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    const seen = Array.from({ length: 50 }, (_, at) => watch(acme.get(`k${at}`)))
    await clock.advance(1000)
    await turns()
    expect(seen.map(({ outcome }) => outcome)).toEqual(seen.map(() => undefined))
    expect(store.calls).toHaveLength(4)
    await until(clock, cache.close())
  })
})
