import { AsyncLocalStorage } from 'node:async_hooks'
import { Readable } from 'node:stream'
import { describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { deferred } from '../support/rig.js'

jest.setTimeout(10_000) // what hangs is seen soon

function cacheOf(withDisk = false): TieredCacheManager {
  const warm = { backend: new FileSystemBackend({ basePath: temporaryDirectory() }) }
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() }, ...(withDisk ? { warm } : {}) }, logger: false })
  afterwards(() => cache.close())
  return cache
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Asks for a key, as a value or as a stream, read to its end. */
type Ask = (cache: TenantCache, key: string, compute: () => Promise<string>) => Promise<string>
const ASKS: Readonly<Record<string, Ask>> = {
  'as a value': async (cache, key, compute) => String(await cache.getOrCompute<unknown>(key, compute)),
  'as a stream': async (cache, key, compute) => {
    const stream = await cache.getOrComputeStream(key, async () => [await compute()])
    return Buffer.concat(await stream.toArray() as Buffer[]).toString()
  },
  'as a stream whose producer asks while it is read': async (cache, key, compute) => {
    const stream = await cache.getOrComputeStream(key, async function* () {
      yield ''
      yield await compute()
    } as never)
    return Buffer.concat(await stream.toArray() as Buffer[]).toString()
  },
  'as a Readable that asks when it is read': async (cache, key, compute) => {
    const stream = await cache.getOrComputeStream(key, () => Readable.from((async function* () { yield Buffer.from(await compute()) })()))
    return Buffer.concat(await stream.toArray() as Buffer[]).toString()
  },
}
const PAIRS = Object.keys(ASKS).flatMap((one) => Object.keys(ASKS).map((other) => [one, other] as const))
const ask = (how: string): Ask => ASKS[how] as Ask

describe.each(PAIRS)('a circle, asked for %s and %s', (one, other) => {
  test.each([false, true])('a key that asks for itself is told, and nothing hangs; with a disk: %s', async (withDisk) => {
    const acme = cacheOf(withDisk).tenant('acme')
    const asking = ask(one)(acme, 'docs/1', async () => {
      await turn()
      return ask(other)(acme, 'docs/1', () => Promise.resolve('never'))
    })
    await expect(asking).rejects.toMatchObject({ name: 'CacheError', code: 'circular', tenant: 'acme', key: 'docs/1', retryable: false, message: expect.stringMatching(/: docs\/1 → docs\/1$/) })
    expect(await ask(one)(acme, 'docs/1', () => Promise.resolve('later'))).toBe('later') // it is not kept
  })

  test('over other keys, the path is told', async () => {
    const acme = cacheOf().tenant('acme')
    const asking = ask(one)(acme, 'x', () => ask(other)(acme, 'y', () => ask(one)(acme, 'z', () => ask(other)(acme, 'x', () => Promise.resolve('never')))))
    await expect(asking).rejects.toMatchObject({ code: 'circular', message: expect.stringMatching(/: x → y → z → x$/) })
  })

  test('two that ask for each other, begun by two callers: one is told, and both end', async () => {
    const acme = cacheOf().tenant('acme')
    const begun = [deferred(), deferred()] as const
    const x = ask(one)(acme, 'x', async () => {
      begun[0].resolve()
      await begun[1].promise
      await turn()
      return ask(other)(acme, 'y', () => Promise.resolve('never'))
    })
    const y = ask(other)(acme, 'y', async () => {
      begun[1].resolve()
      await begun[0].promise
      await turn()
      return ask(one)(acme, 'x', () => Promise.resolve('never'))
    })
    for (const outcome of await Promise.allSettled([x, y])) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'circular' } })
  })
})

test('over tenants and managers, the path names the tenants', async () => {
  const [one, two] = [cacheOf(), cacheOf()]
  const asking = one.getOrCompute('k', () => two.getOrCompute('k', () => one.getOrCompute('k', () => one.getOrCompute('k', () => 1, { tenant: 'acme' }), { tenant: 'globex' }), { tenant: 'acme' }), { tenant: 'acme' })
  await expect(asking).rejects.toMatchObject({ code: 'circular', message: expect.stringContaining(': k of acme → k of globex → k of acme') })
})

test('a compute may take the error for an answer', async () => {
  const acme = cacheOf().tenant('acme')
  expect(await acme.getOrCompute('tree', async () => acme.getOrCompute<unknown>('tree', () => 1).catch((error: unknown) => (error as { code: string }).code))).toBe('circular')
})

describe('no circle is', () => {
  test('a compute that asks for others, all at once and again and again', async () => {
    const acme = cacheOf(true).tenant('acme')
    const leaf = (key: string): Promise<number> => acme.getOrCompute(key, async () => (await turn(), 1))
    const sum = (key: string): Promise<number> => acme.getOrCompute(key, async () => (await Promise.all(['a', 'b', 'c', 'a'].map(leaf))).reduce((total, one) => total + one, 0))
    const total = acme.getOrCompute('total', async () => (await Promise.all([sum('s1'), sum('s2'), leaf('a'), sum('s1')])).reduce((all, one) => all + one, 0))
    expect(await Promise.all([total, sum('s2'), leaf('c')])).toEqual([13, 4, 1])
  })

  test('two that ask for what the other has already made', async () => {
    const acme = cacheOf().tenant('acme')
    await acme.setMany([['x', 1], ['y', 2]])
    const other = (key: string): Promise<number> => acme.getOrCompute(key, () => 0)
    expect(await Promise.all([acme.getOrCompute('a', () => other('y')), acme.getOrCompute('b', () => other('x')), acme.getOrCompute('c', () => acme.get('c'))])).toEqual([2, 1, undefined])
  })

  test('what goes on after its compute has ended', async () => {
    const acme = cacheOf().tenant('acme')
    const late = deferred<unknown>()
    const ended = deferred()
    await acme.getOrCompute('x', (context) => {
      context.doNotCache()
      void ended.promise.then(() => acme.getOrCompute('x', () => 'anew')).then(late.resolve, late.reject)
      return 'first'
    })
    // a compute of the same key runs, and so the storage is in use
    const hold = deferred()
    const running = acme.getOrCompute('x', async () => (await hold.promise, 'second'))
    await turn()
    ended.resolve()
    await turn()
    hold.resolve()
    expect([await running, await late.promise]).toEqual(['second', 'second'])
  })

  test('a call that its caller has left', async () => {
    const acme = cacheOf().tenant('acme')
    const slow = deferred<string>()
    const controller = new AbortController()
    const x = acme.getOrCompute('x', async () => {
      const y = acme.getOrCompute('y', async () => {
        await slow.promise
        return acme.getOrCompute('x', () => 'never')
      }, { signal: controller.signal })
      void acme.getOrCompute('y', () => '').catch(() => undefined) // somebody else’s, so that it runs on
      controller.abort(new Error('enough'))
      await expect(y).rejects.toThrow('enough')
      return 'x without y'
    })
    expect(await x).toBe('x without y')
    slow.resolve('')
    expect(await acme.getOrCompute('y', () => 'y')).toBe('x without y')
  })

  test('a listener that asks for the key of the compute that happens to call it', async () => {
    const cache = cacheOf()
    const acme = cache.tenant('acme')
    const asked: Promise<unknown>[] = []
    cache.on('set', () => void asked.push(acme.getOrCompute('x', () => 'not needed')))
    expect(await acme.getOrCompute('x', async () => (await turn(), await acme.set('z', 1), 'made'))).toBe('made')
    expect(await Promise.all(asked)).toEqual(['made'])
  })

  test('an endless recursion of a cache that is switched off: that is the compute’s own', async () => {
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, enabled: false })
    afterwards(() => cache.close())
    let depth = 0
    const again = (): Promise<number> => (++depth === 50 ? Promise.resolve(depth) : cache.getOrCompute('x', again, { tenant: 'acme' }))
    expect(await again()).toBe(50)
  })
})

test('nobody hears of a flight that nobody joined, and the process stays calm', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  afterwards(() => void process.off('unhandledRejection', note))
  const acme = cacheOf().tenant('acme')
  const stream = await acme.getOrComputeStream('x', async function* () { yield String(await acme.getOrCompute<unknown>('x', () => 1)) } as never)
  await expect(stream.toArray()).rejects.toMatchObject({ code: 'circular' })
  for (let n = 0; n < 5; n++) await turn()
  expect(unhandled).toEqual([])
})

test('the storage that tells computes apart is off when none runs: awaits cost nothing more', async () => {
  const acme = cacheOf().tenant('acme')
  const disable = jest.spyOn(AsyncLocalStorage.prototype, 'disable')
  const hold = deferred()
  const held = acme.getOrCompute('a', () => hold.promise)
  await acme.getOrCompute('b', () => 1)
  const failed = acme.getOrCompute('c', () => Promise.reject(new Error('no'))).catch(() => 'failed')
  expect([await failed, disable.mock.calls.length]).toEqual(['failed', 0])
  hold.resolve()
  await held
  expect(disable).toHaveBeenCalledTimes(1)
  await (await acme.getOrComputeStream('s', () => ['text'])).toArray()
  expect(disable).toHaveBeenCalledTimes(2)
  disable.mockRestore()
})
