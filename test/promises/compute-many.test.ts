import { describe, expect, test } from '@jest/globals'
import { WrappedBackend, type CacheBackend, type Layer } from '@thermocline/backend'
import { deferred, STACKS, withRig, type Rig } from '../support/rig.js'

const keysOf = (n: number, prefix = 'k'): string[] => Array.from({ length: n }, (_, at) => `${prefix}${at}`)
const upper = (keys: readonly string[]): Map<string, string> => new Map(keys.map((key) => [key, key.toUpperCase()]))

/** Notes which reads a tier was asked for. */
class Reads {
  readonly seen: string[] = []
  readonly layer: Layer = (inner: CacheBackend) => {
    const wrapped = new WrappedBackend(inner)
    const note = (what: string): void => void this.seen.push(what)
    return Object.assign(wrapped, {
      get: (...args: Parameters<CacheBackend['get']>) => (note(`get ${args[1]}`), inner.get(...args)),
      getMany: (...args: Parameters<CacheBackend['getMany']>) => (note(`getMany ${args[1].length}`), inner.getMany(...args)),
    })
  }
}

describe.each(STACKS)('getOrComputeMany, on %s', (stack) => {
  test('one call of the function for what is missing, in the order of the keys, and all is stored', () =>
    withRig(stack, {}, async ({ acme, cache }) => {
      await acme.set('k1', 'set')
      const asked: string[][] = []
      const compute = (missing: string[]): Promise<Map<string, string>> => {
        asked.push(missing)
        return Promise.resolve(upper(missing))
      }
      expect([...(await acme.getOrComputeMany(['k2', 'k1', 'k0', 'k2'], compute))]).toEqual([['k2', 'K2'], ['k1', 'set'], ['k0', 'K0']])
      expect(asked).toEqual([['k2', 'k0']])
      expect([...(await acme.getMany(['k0', 'k1', 'k2'])).values()]).toEqual(['K0', 'set', 'K2'])
      expect([...(await cache.getOrComputeMany(['k0', 'k1', 'k2'], compute, { tenant: 'acme' })).values()]).toEqual(['K0', 'set', 'K2'])
      expect(asked).toHaveLength(1)
      expect((await acme.getOrComputeMany([], compute)).size).toBe(0)
      const { hits, misses, policies } = await acme.stats()
      expect({ hits, misses, computes: policies['default']!.computes }).toEqual({ hits: 1 + 3 + 3, misses: 2, computes: 2 })
    }))

  test('each tier is read once', async () => {
    const reads = new Reads()
    const name = stack === 'memory' ? 'hot' : 'warm'
    await withRig(stack, { tier: { [name]: { layers: [reads.layer] } } }, async ({ acme }) => {
      await acme.getOrComputeMany(keysOf(50), upper)
      // memory is looked at key by key first, the short way
      expect(reads.seen.filter((read) => stack !== 'memory' || !read.startsWith('get '))).toEqual(['getMany 50'])
    })
  })

  test('what is left out is not cached and not in the result; others compute it by themselves', () =>
    withRig(stack, {}, async ({ acme }) => {
      const gate = deferred()
      const many = acme.getOrComputeMany(['a', 'b', 'c'], async () => {
        await gate.promise
        return new Map<string, unknown>([['a', 1], ['c', undefined]])
      })
      await new Promise((resolve) => setTimeout(resolve, 20))
      const single = acme.getOrCompute('b', () => 'own')
      const another = acme.getOrComputeMany(['b', 'a'], () => new Map([['b', 'not called']]))
      gate.resolve()
      expect([...(await many)]).toEqual([['a', 1], ['c', undefined]])
      expect(await single).toBe('own')
      expect([...(await another)]).toEqual([['a', 1]]) // it shared what was left out
      expect(await acme.lookup('c')).toMatchObject({ status: 'fresh', value: undefined })
      expect((await acme.getOrComputeMany(['d'], () => new Map())).size).toBe(0)
      expect(await acme.has('d')).toBe(false)
    }))

  test('it shares computes with every other verb', () =>
    withRig(stack, {}, async ({ acme }) => {
      const gate = deferred<string>()
      const single = acme.getOrCompute('a', () => gate.promise)
      const asked: string[][] = []
      const many = acme.getOrComputeMany(['a', 'b'], (missing) => {
        asked.push(missing)
        return upper(missing)
      })
      const joined = acme.getOrCompute('b', () => 'not called')
      gate.resolve('shared')
      expect([await single, [...(await many)], await joined, asked]).toEqual(['shared', [['a', 'shared'], ['b', 'B']], 'B', [['b']]])
    }))

  test('a function that fails rejects with its error; what others make is stored, and stale values go before it', () =>
    withRig(stack, { policies: { default: { ttl: '1m', staleIfError: '5m' } } }, async ({ acme, clock }) => {
      await acme.set('old', 'old')
      await clock.advance(60_000)
      const down = new Error('down')
      const fail = (): never => {
        throw down
      }
      expect([...(await acme.getOrComputeMany(['old'], fail))]).toEqual([['old', 'old']])
      await expect(acme.getOrComputeMany(['old', 'none'], fail)).rejects.toBe(down)
      const single = acme.getOrCompute('single', async () => Promise.reject(down))
      single.catch(() => undefined)
      await expect(acme.getOrComputeMany(['single', 'x'], upper)).rejects.toBe(down)
      await expect(single).rejects.toBe(down)
      expect(await acme.get('x')).toBe('X')
      for (const wrong of [{}, [['k', 1]], undefined, 'text']) await expect(acme.getOrComputeMany(['y'], () => wrong as never)).rejects.toThrow(/compute must return a Map of values by key/)
    }))

  test('stale windows hold for each key by itself', () =>
    withRig(stack, { policies: { default: { ttl: '1m', staleWhileRevalidate: '5m' } } }, async (rig: Rig) => {
      const { acme, clock } = rig
      await acme.set('old', 'old')
      await clock.advance(30_000)
      await acme.set('fresh', 'fresh')
      await clock.advance(30_000)
      const asked: string[][] = []
      const compute = (missing: string[]): Map<string, string> => {
        asked.push(missing)
        return upper(missing)
      }
      expect([...(await acme.getOrComputeMany(['old', 'fresh', 'none'], compute))]).toEqual([['old', 'old'], ['fresh', 'fresh'], ['none', 'NONE']])
      await rig.until(async () => (await acme.get('old')) === 'OLD')
      expect(asked.flat().sort()).toEqual(['none', 'old'])
      await rig.until(async () => (await acme.stats()).policies['default']!.refreshes === 1)
      expect((await acme.stats()).staleHits).toBe(1)
    }))

  test('a set or delete of one key meanwhile concerns that key only', () =>
    withRig(stack, {}, async ({ acme }) => {
      const gate = deferred()
      const many = acme.getOrComputeMany(['a', 'b', 'c'], async (missing) => {
        await gate.promise
        return upper(missing)
      })
      await new Promise((resolve) => setTimeout(resolve, 20))
      await acme.delete('a')
      await acme.set('b', 'set')
      gate.resolve()
      expect([...(await many).values()]).toEqual(['A', 'B', 'C'])
      expect([...(await acme.getMany(['a', 'b', 'c']))]).toEqual([['b', 'set'], ['c', 'C']])
    }))

  test('the context: signal, ttl, tags, and what concerns one key', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.getOrComputeMany(['a', 'b', 'c'], (missing, ctx) => {
        expect([ctx.tenant, ctx.signal.aborted, ctx.of('a').key]).toEqual(['acme', false, 'a'])
        expect(() => ctx.of('elsewhere')).toThrow(/one of the keys that are missing/)
        ctx.setTtl('10s')
        ctx.addTags('all')
        ctx.of('a').setTtl('20s')
        ctx.of('b').addTags('only b')
        ctx.of('c').doNotCache()
        return upper(missing)
      })
      expect(await acme.lookup('a')).toMatchObject({ expiresAt: clock.now() + 20_000, tags: ['all'] })
      expect(await acme.lookup('b')).toMatchObject({ expiresAt: clock.now() + 10_000, tags: ['all', 'only b'] })
      expect(await acme.has('c')).toBe(false)
      const controller = new AbortController()
      let signal: AbortSignal | undefined
      const left = acme.getOrComputeMany(['x', 'y'], (_, ctx) => ((signal = ctx.signal), new Promise<never>(() => undefined)), { signal: controller.signal })
      left.catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 20))
      const stays = acme.getOrCompute('y', () => 'not called')
      stays.catch(() => undefined)
      controller.abort(new Error('enough'))
      await expect(left).rejects.toThrow('enough')
      expect(signal!.aborted).toBe(false) // somebody waits for y
      await acme.clear()
    }))

  test('a function that asks for one of its own keys is told the circle', () =>
    withRig(stack, {}, async ({ acme }) => {
      const self = acme.getOrComputeMany(['a', 'b'], async (missing) => new Map([['a', await acme.getOrCompute('b', () => 1)], ...missing.map((key) => [key, 1] as const)]))
      await expect(self).rejects.toMatchObject({ code: 'circular', message: expect.stringContaining('b') as unknown })
      const over = acme.getOrComputeMany(['c'], async () => new Map([['c', await acme.getOrCompute('d', async () => (await acme.getOrComputeMany(['c'], () => new Map())).size)]]))
      await expect(over).rejects.toMatchObject({ code: 'circular' })
      expect((await acme.getOrComputeMany(['e'], async () => new Map([['e', await acme.getOrCompute('f', () => 'other')]]))).get('e')).toBe('other')
    }))

  test('refresh makes all of them anew', () =>
    withRig(stack, {}, async ({ acme }) => {
      await acme.setMany([['a', 1], ['b', 2]])
      expect([...(await acme.getOrComputeMany(['a', 'b'], upper, { refresh: true }))]).toEqual([['a', 'A'], ['b', 'B']])
      expect([...(await acme.getMany(['a', 'b'])).values()]).toEqual(['A', 'B'])
    }))

  test('hundreds at once, and a hard time limit for all of them', () =>
    withRig(stack, { policies: { default: { hardTimeout: '2s' } } }, async (rig) => {
      const { acme } = rig
      const many = await acme.getOrComputeMany(keysOf(600), upper)
      expect(many.size).toBe(600)
      const hanging = acme.getOrComputeMany(keysOf(3, 'h'), () => new Promise<never>(() => undefined))
      await expect(rig.pass(hanging)).rejects.toMatchObject({ code: 'compute-timeout' })
    }))

  test('a closed cache only computes; wrong arguments are told', () =>
    withRig(stack, {}, async ({ acme, cache }) => {
      await expect(acme.getOrComputeMany(['a'], undefined as never)).rejects.toThrow(/needs a function to compute with/)
      await expect(acme.getOrComputeMany('ab' as never, upper)).rejects.toThrow(/keys must be an array/)
      await expect(acme.getOrComputeMany([''], upper)).rejects.toThrow(TypeError)
      await expect(acme.getOrComputeMany(['a'], upper, { tll: 1 } as never)).rejects.toThrow(/did you mean ttl/)
      await cache.close()
      expect([...(await acme.getOrComputeMany(['a', 'b'], (keys) => new Map([[keys[0]!, 1]])))]).toEqual([['a', 1]])
    }))
})
