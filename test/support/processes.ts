import { expect, test } from '@jest/globals'
import type { CacheBackend } from '@thermocline/backend'
import { TieredCacheManager, type TieredCacheManagerOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { until } from './servers/until.js'

/** Managers that share a store, as processes do. */
export class Processes {
  readonly managers: TieredCacheManager[]

  constructor(managers: readonly TieredCacheManager[]) {
    this.managers = [...managers]
  }

  /** A tenant's cache in each of them. */
  get tenants(): ReturnType<TieredCacheManager['tenant']>[] {
    return this.managers.map((manager) => manager.tenant('acme'))
  }

  /** Each hears the others. */
  connected(): Promise<unknown> {
    return until('all hear each other', async () => (await Promise.all(this.managers.map((manager) => manager.health()))).every(({ coordination }) => coordination.status === 'connected'))
  }

  async close(): Promise<void> {
    await Promise.all(this.managers.map((manager) => manager.close()))
  }
}

/** A memory of its own over a shared store. */
export function overShared(shared: CacheBackend, options: Partial<TieredCacheManagerOptions> = {}): TieredCacheManager {
  return new TieredCacheManager({ tiers: { near: { backend: new MemoryBackend() }, hot: { backend: shared } }, coordination: 'auto', logger: false, ...options })
}

export function deferred<T>(): { readonly promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((fulfil, fail) => {
    resolve = fulfil
    reject = fail
  })
  return { promise, resolve, reject }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** Promises 11, 12 and 13, as far as one store and processes that live can show them. @param backends makes backends over one new and empty store */
export function describeProcesses(backends: () => () => CacheBackend): void {
  const among = (count: number, body: (processes: Processes, ...tenants: Processes['tenants']) => Promise<void>, options?: Partial<TieredCacheManagerOptions>) => async (): Promise<void> => {
    const backend = backends()
    const processes = new Processes(Array.from({ length: count }, () => overShared(backend(), options)))
    try {
      await processes.connected()
      await body(processes, ...processes.tenants)
    } finally {
      await processes.close()
    }
  }

  test('callers of one cold key in four processes share one compute', among(4, async (processes) => {
    let computes = 0
    const compute = async (): Promise<object> => {
      await pause(50)
      return { n: ++computes }
    }
    const got = await Promise.all(processes.tenants.flatMap((tenant) => Array.from({ length: 25 }, () => tenant.getOrCompute('k', compute))))
    expect(computes).toBe(1)
    expect(got).toEqual(Array.from({ length: 100 }, () => ({ n: 1 })))
  }))

  test('getOrComputeMany and streams share it as well', among(3, async (_, one, other, third) => {
    const asked: string[] = []
    const compute = async (missing: readonly string[]): Promise<Map<string, string>> => {
      asked.push(...missing)
      await pause(40)
      return new Map(missing.map((key) => [key, key.toUpperCase()]))
    }
    const first = one.getOrComputeMany(['a', 'b'], compute)
    await until('its compute is under way', () => Promise.resolve(asked.length === 2), { everyMs: 1 })
    const [a, b, c] = await Promise.all([first, other.getOrComputeMany(['b', 'c'], compute), third.getOrCompute('a', () => 'not asked for')])
    expect([[...a].sort(), [...b].sort(), c]).toEqual([[['a', 'A'], ['b', 'B']], [['b', 'B'], ['c', 'C']], 'A'])
    expect(asked.sort()).toEqual(['a', 'b', 'c'])
    let streams = 0
    const produce = async (): Promise<string[]> => {
      streams++
      await pause(30)
      return ['in ', 'parts']
    }
    const texts = await Promise.all([one, other, third].map(async (tenant) => textOf(await tenant.getOrComputeStream('s', produce))))
    expect([texts, streams]).toEqual([['in parts', 'in parts', 'in parts'], 1])
  }))

  test('an error is told to its callers, and others compute', among(2, async (_, one, other) => {
    const gate = deferred<string>()
    const failing = one.getOrCompute('k', () => gate.promise)
    await until('it is under way', () => pause(20).then(() => true))
    const began = performance.now()
    const waiting = other.getOrCompute('k', () => 'computed')
    await pause(30)
    gate.reject(new Error('down'))
    await expect(failing).rejects.toThrow('down')
    expect(await waiting).toBe('computed')
    expect(performance.now() - began).toBeLessThan(5000)
    expect(await one.get('k')).toBe('computed')
  }))

  test('what is not cached is computed by each, at once', among(2, async (_, one, other) => {
    const gate = deferred<string>()
    const first = one.getOrCompute('k', async (ctx) => {
      ctx.doNotCache()
      return gate.promise
    })
    await pause(20)
    const second = other.getOrCompute('k', () => 'its own')
    await pause(30)
    gate.resolve('not kept')
    expect([await first, await second]).toEqual(['not kept', 'its own'])
  }))

  test('lock: false computes at once; { wait } waits for so long', among(2, async (_, one, other) => {
    const gate = deferred<string>()
    const first = one.getOrCompute('k', () => gate.promise)
    await pause(20)
    expect(await other.getOrCompute('k', () => 'at once', { lock: false })).toBe('at once')
    await other.delete('k')
    const third = one.getOrCompute('other', () => gate.promise)
    await pause(20)
    const began = performance.now()
    expect(await other.getOrCompute('other', () => 'after a while', { lock: { wait: '200ms' } })).toBe('after a while')
    expect(performance.now() - began).toBeGreaterThan(150)
    gate.resolve('late')
    expect([await first, await third]).toEqual(['late', 'late'])
    // the first has lost its place to who stored, or to the delete
    expect(await other.get('other')).toBe('after a while')
    expect(await other.get('k')).toBeUndefined()
    await until('what was stored here is gone, too', async () => (await one.get('k')) === undefined)
  }))

  test('a delete, set or clear elsewhere wins over a compute that began before', among(2, async (_, one, other) => {
    const changes = { delete: () => other.delete('k'), set: () => other.set('k', 'set'), clear: () => other.clear(''), invalidated: () => other.refresh('k', () => 'refreshed') }
    for (const [how, change] of Object.entries(changes)) {
      const gate = deferred<string>()
      const computing = one.getOrCompute('k', () => gate.promise)
      await pause(20)
      await change()
      gate.resolve('old')
      expect(await computing).toBe('old')
      const now = how === 'set' ? 'set' : how === 'invalidated' ? 'refreshed' : undefined
      expect([how, await other.get('k')]).toEqual([how, now])
      await until(`${how}: forgotten`, async () => (await one.get('k')) === now)
      await one.delete('k')
      await until('gone', async () => (await other.get('k')) === undefined)
    }
  }))

  test('what one process changes, the others’ memory loses', among(3, async (processes, one, other, third) => {
    const said: unknown[] = []
    processes.managers[1]!.on('invalidated', (event) => said.push(event))
    for (const tenant of [one, other, third]) for (const key of ['docs/a', 'docs/b', 'x']) await tenant.getOrCompute(key, () => 'v1')
    const held = (): unknown[] => [one, other, third].map((tenant) => ['docs/a', 'docs/b', 'x'].map((key) => tenant.peek(key)))
    expect(held()).toEqual([['v1', 'v1', 'v1'], ['v1', 'v1', 'v1'], ['v1', 'v1', 'v1']])
    await one.delete('docs/a')
    await until('deleted everywhere', () => Promise.resolve(other.peek('docs/a') === undefined && third.peek('docs/a') === undefined), { everyMs: 1 })
    expect(held()).toEqual([[undefined, 'v1', 'v1'], [undefined, 'v1', 'v1'], [undefined, 'v1', 'v1']])
    await other.clear('docs/')
    await until('cleared everywhere', () => Promise.resolve(one.peek('docs/b') === undefined && third.peek('docs/b') === undefined), { everyMs: 1 })
    expect(held()).toEqual([[undefined, undefined, 'v1'], [undefined, undefined, 'v1'], [undefined, undefined, 'v1']])
    await third.set('x', 'v2')
    await until('set everywhere', () => Promise.resolve(one.peek('x') === undefined && other.peek('x') === undefined), { everyMs: 1 })
    expect([await one.get('x'), await other.get('x'), third.peek('x')]).toEqual(['v2', 'v2', 'v2'])
    expect(said).toEqual([{ tenant: 'acme', key: 'docs/a' }, { tenant: 'acme', key: 'x' }])
  }))

  test('other tenants keep what they have', among(2, async (processes, one) => {
    const [globex, there] = processes.managers.map((manager) => manager.tenant('globex'))
    await globex!.set('k', 'theirs')
    await pause(30) // it is told to all
    expect(await there!.get('k')).toBe('theirs')
    await one.delete('k')
    await one.clear('')
    await pause(30)
    expect([globex!.peek('k'), there!.peek('k')]).toEqual(['theirs', 'theirs'])
  }))

  test('one process refreshes what is stale, the others take it over', among(3, async (_, ...tenants) => {
    let computes = 0
    const compute = async (): Promise<number> => {
      await pause(30)
      return ++computes
    }
    for (const tenant of tenants) expect(await tenant.getOrCompute('k', compute, { ttl: '300ms', staleWhileRevalidate: '1m' })).toBe(1)
    await pause(330)
    const stale = await Promise.all(tenants.map((tenant) => tenant.getOrCompute('k', compute, { ttl: '1m', staleWhileRevalidate: '1m' })))
    expect(stale).toEqual([1, 1, 1])
    await until('all have the new one', async () => (await Promise.all(tenants.map((tenant) => tenant.getOrCompute('k', compute, { ttl: '1m', staleWhileRevalidate: '1m' })))).every((value) => value === 2))
    expect(computes).toBe(2)
  }))

  test('a caller who aborts leaves the line, and the next one computes', among(2, async (_, one, other) => {
    const leaving = new AbortController()
    const first = one.getOrCompute('k', (ctx) => new Promise((_resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error))), { signal: leaving.signal })
    await pause(20)
    const waiting = new AbortController()
    const second = other.getOrCompute('k', () => 'never', { signal: waiting.signal })
    await pause(20)
    waiting.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    leaving.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    const began = performance.now()
    expect(await other.getOrCompute('k', () => 'next')).toBe('next')
    expect(performance.now() - began).toBeLessThan(5000)
  }))

  test('calls of verbs in many processes at once leave one truth', among(4, async (_, ...tenants) => {
    for (let round = 0; round < 20; round++) {
      const work = tenants.flatMap((tenant, at) => [tenant.getOrCompute('k', () => `computed ${round} ${at}`), tenant.set('k', `set ${round} ${at}`), tenant.get('k'), ...(round % 3 === 0 ? [tenant.delete('k')] : [])])
      await Promise.all(work)
      const [first] = tenants
      let seen: unknown[] = []
      await until('all agree', async () => {
        seen = await Promise.all(tenants.map((tenant) => tenant.get('k')))
        return seen.every((value) => value === seen[0])
      })
      expect(await first!.get('k')).toBe(seen[0])
    }
  }))
}
