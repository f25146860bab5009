import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { scopeOf, Shelf } from './support/shelf.js'

describe('the least recently used goes first', () => {
  const names = Array.from({ length: 10 }, (_, i) => `k${i}`)
  const maxBytes = 32 * 1024 + 10 * 20_500

  async function fill(shelf: Shelf): Promise<void> {
    for (const name of names) await shelf.put(name, Buffer.alloc(20_000))
  }
  async function left(shelf: Shelf): Promise<string[]> {
    const held: string[] = []
    for (const name of names) if (await shelf.holds(name)) held.push(name)
    return held
  }
  /** The order in which entries go when new ones need their room. */
  async function orderOut(shelf: Shelf): Promise<string[]> {
    for (let i = 0; i < names.length + 1; i++) await shelf.put(`new-${i}`, Buffer.alloc(20_000))
    return shelf.evictions.map(({ key }) => key).filter((key) => names.includes(key))
  }

  test('in the order of writing, when nothing was read', async () => {
    const shelf = new Shelf({ maxBytes })
    await fill(shelf)
    expect(await orderOut(shelf)).toEqual(names)
    expect(new Set(shelf.evictions.map(({ reason }) => reason))).toEqual(new Set(['space']))
  })

  test.each(['the same process', 'a process that starts later'])('a get refreshes and a look does not, in %s', async (where) => {
    const shelf = new Shelf({ maxBytes })
    await fill(shelf)
    for (const name of ['k3', 'k0']) await shelf.get(name)
    for (const name of ['k1', 'k2']) {
      await shelf.get(name, { touch: false })
      await shelf.holds(name)
    }
    await shelf.keys()
    const later = where === 'the same process' ? shelf : new Shelf({ basePath: shelf.basePath, maxBytes })
    if (later !== shelf) await shelf.close()
    expect(await orderOut(later)).toEqual(['k1', 'k2', 'k4', 'k5', 'k6', 'k7', 'k8', 'k9', 'k3', 'k0'])
  })

  test('what is over goes before what is used', async () => {
    const shelf = new Shelf({ maxBytes })
    for (const name of names) await shelf.put(name, Buffer.alloc(20_000), name === 'k5' ? { lifeMs: 100 } : {})
    await new Promise((resolve) => setTimeout(resolve, 120))
    expect((await orderOut(shelf))[0]).toBe('k5')
    expect(shelf.evictions[0]?.reason).toBe('expired')
  })

  test('writing down a use leaves a newer entry’s own instants alone', async () => {
    const shelf = new Shelf({ maxBytes })
    await shelf.put('k', 'first', { lifeMs: 60_000 })
    await shelf.get('k')
    const other = new Shelf({ basePath: shelf.basePath, maxBytes })
    await other.put('k', 'second', { lifeMs: 3_600_000 })
    const listed = async (): Promise<unknown[]> => {
      const infos: unknown[] = []
      for await (const { expiresAt } of other.backend.list(scopeOf('acme'), '', {})) infos.push(expiresAt)
      return infos
    }
    const before = await listed()
    await shelf.close()
    expect(await listed()).toEqual(before)
  })

  test('verbs of the manager: gets count as uses, has, lookup, peek and list do not', async () => {
    const basePath = temporaryDirectory()
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath, maxBytes }) } }, logger: false })
    const acme = cache.tenant('acme')
    for (const name of names) await acme.set(name, Buffer.alloc(20_000))
    await acme.get('k0')
    await acme.getMany(['k1'])
    await acme.getOrCompute('k2', () => 'computed')
    await acme.has('k3')
    await acme.lookup('k4')
    acme.peek('k5')
    for await (const { key } of acme.list()) expect(names).toContain(key)
    const evicted: string[] = []
    cache.on('evict', ({ key }) => evicted.push(key))
    for (let i = 0; i < 7; i++) await acme.set(`new-${i}`, Buffer.alloc(20_000))
    await cache.close()
    expect(evicted.slice(0, 6)).toEqual(names.slice(3, 9))
    expect(await left(new Shelf({ basePath }))).toEqual(expect.arrayContaining(['k0', 'k1', 'k2']))
  })
})
