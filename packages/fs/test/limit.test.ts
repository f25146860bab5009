import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { startChild, type Child } from './support/processes.js'
import { Shelf } from './support/shelf.js'
import { occupied } from './support/small-disk.js'

const PROCESSES = 3

jest.setTimeout(60_000) // several processes on two processors

/** What `du` says; a file that goes while it looks is no matter. */
async function mostOccupied(basePath: string, children: readonly Child[]): Promise<number> {
  let most = 0
  let running = children.length
  for (const child of children) void child.ended.then(() => running--)
  while (running > 0) {
    most = Math.max(most, occupied(basePath))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return Math.max(most, occupied(basePath))
}

interface Load {
  readonly maxBytes: number
  readonly sizes: readonly number[]
  /** How many times the limit is written, by all together. */
  readonly turnover: number
  readonly lanes?: number
  readonly tenants?: number
  /** All processes write the same keys. */
  readonly sharedKeys?: boolean
}

const MIXED = [100, 700_000, 5_000, 30_000, 1_200_000, 900, 250_000]
const LOADS: readonly (readonly [name: string, load: Load])[] = [
  ['entries of mixed sizes', { maxBytes: 20e6, sizes: MIXED, turnover: 5 }],
  ['many writes at once in each process', { maxBytes: 20e6, sizes: [200_000, 40_000], lanes: 24, turnover: 5 }],
  ['the same keys from all sides', { maxBytes: 20e6, sizes: MIXED, sharedKeys: true, turnover: 6 }],
  ['tiny entries', { maxBytes: 1e6, sizes: [200], lanes: 8, turnover: 1.4 }],
  ['tiny entries of many tenants', { maxBytes: 2e6, sizes: [200, 3000], lanes: 8, tenants: 1000, turnover: 1.4 }],
  ['entries that nearly fill it', { maxBytes: 2e6, sizes: [1_500_000, 400_000], turnover: 20 }],
]

describe('the limit holds for all processes together, at every moment', () => {
  test.each(LOADS)(
    '%s',
    async (_name, { maxBytes, sizes, turnover, lanes = 2, tenants, sharedKeys = false }) => {
      const basePath = temporaryDirectory()
      const children = Array.from({ length: PROCESSES }, (_, i) =>
        startChild('fill', basePath, { maxBytes, sizes, lanes, tenants, name: sharedKeys ? 'key' : `p${i}`, keys: sharedKeys ? 97 : 1e9, bytes: (turnover * maxBytes) / PROCESSES }),
      )
      const most = await mostOccupied(basePath, children)
      const allowed = Math.max(1.05 * maxBytes, maxBytes + PROCESSES * (Math.max(...sizes) + 200))
      expect(children.map((child) => child.output())).toEqual(children.map(() => 'all written\n'))
      expect(most).toBeLessThanOrEqual(allowed)
      expect(most).toBeGreaterThan(0.6 * maxBytes)
    },
    60_000,
  )

  test('what others delete around a scan is not taken off twice', async () => {
    const basePath = temporaryDirectory()
    const maxBytes = 2_000_000
    const first = new Shelf({ basePath, maxBytes })
    for (let i = 0; i < 60; i++) await first.put(`old-${i}`, Buffer.alloc(30_000))
    const other = new Shelf({ basePath, maxBytes })
    await other.put('other', 'x')
    expect(await other.clear('old-')).toBe(60)
    const fresh = new Shelf({ basePath, maxBytes })
    await fresh.put('fresh', 'x')
    for (let i = 0; i < 3; i++) await other.put(`tell-${i}`, Buffer.alloc(30_000))
    for (let i = 0; i < 150; i++) {
      await fresh.put(`new-${i}`, Buffer.alloc(30_000))
      expect(occupied(basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
    }
  })

  test('a file that is looked at late, before it is replaced, is not taken for the one that replaces it', async () => {
    const shelf = new Shelf({ maxBytes: 2_000_000 })
    await shelf.put('first', 'x')
    const lstat = fs.lstat
    const late = jest.spyOn(fs, 'lstat').mockImplementation(((file: string, callback: () => void) => setTimeout(() => lstat(file, callback), 100)) as unknown as typeof fs.lstat)
    afterwards(() => late.mockRestore())
    const before = shelf.backend.stats().bytes as number
    await shelf.put('new', Buffer.alloc(120_000))
    expect(late).toHaveBeenCalled()
    expect(shelf.backend.stats().bytes).toBeGreaterThanOrEqual(before + 120_000)
  })

  test('it holds while many writes are in flight, also across a scan', async () => {
    const maxBytes = 2_000_000
    const shelf = new Shelf({ maxBytes })
    for (let round = 0; round < 6; round++) {
      await Promise.all(Array.from({ length: 40 }, (_, i) => shelf.put(`${round}-${i}`, Buffer.alloc(120_000))))
      expect(occupied(shelf.basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
      expect(shelf.backend.stats().bytes).toBeGreaterThanOrEqual(occupied(shelf.basePath))
    }
  })

  test('tenants that come and go in several processes leave no uncounted directories', async () => {
    const basePath = temporaryDirectory()
    const maxBytes = 1_000_000
    const shelves = [1, 2].map(() => new Shelf({ basePath, maxBytes }))
    for (let i = 0; i < 600; i++) {
      const shelf = shelves[i % 2] as Shelf
      await shelf.put(`k${i}`, 'tiny', { tenant: `t${(i * 7) % 300}` })
      if (i % 3 === 0) await (shelves[(i + 1) % 2] as Shelf).clear('', `t${(i * 7) % 300}`)
      if (i % 50 === 0) expect(occupied(basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
    }
    expect(occupied(basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
  }, 30_000)

  test("an entry is stored although others remove its tenant's directory again and again, just before it is in it", async () => {
    const shelf = new Shelf({ maxBytes: 1_000_000 })
    const { rename } = fs
    let removed = 0
    fs.rename = ((from: string, to: string, done: fs.NoParamCallback) => {
      if (removed++ < 6) fs.rmdirSync(path.dirname(to))
      rename(from, to, done)
    }) as typeof fs.rename
    try {
      await shelf.put('k', 'tiny')
    } finally {
      fs.rename = rename
    }
    expect(removed).toBe(7)
    expect(String(await shelf.get('k'))).toBe('tiny')
  })
})

describe('an entry that is larger than the limit', () => {
  test('is refused, and what was there under its key is gone; what is larger than the tier takes is told of', async () => {
    const maxBytes = 200_000
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory(), maxBytes }) } }, logger: false })
    const events: unknown[] = []
    for (const name of ['error', 'degraded', 'evict'] as const) cache.on(name, (event) => events.push([name, event]))
    const acme = cache.tenant('acme')
    await acme.set('k', 'small')
    await acme.set('other', 'small')
    for (const size of [maxBytes - 32 * 1024 - 10, maxBytes, 10 * maxBytes]) {
      await acme.set('k', Buffer.alloc(size))
      expect(await acme.get('k')).toBeUndefined()
      await acme.set('k', 'small')
    }
    expect(await acme.get('other')).toBe('small')
    expect(events).toEqual([200_000, 2_000_000].map((size) => ['error', expect.objectContaining({ error: expect.objectContaining({ code: 'too-large', message: expect.stringContaining(`a value of ${size} bytes`) }) })]))
    await cache.close()
  })
})
