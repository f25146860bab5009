import fs from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { bytesOf, patterned } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { Shelf } from './support/shelf.js'

const maxBytes = 2e6
const SIZE = 100_000

/** Fills a shelf beyond its limit. */
async function overfill(shelf: Shelf, entries = 30, size = SIZE): Promise<void> {
  for (let i = 0; i < entries; i++) await shelf.put(`k${i}`, patterned(size, i))
}

describe('an entry that is evicted for space', () => {
  test('can still be read by a manager that wants it', async () => {
    const shelf = new Shelf({ maxBytes, demotes: (key) => key !== 'k2' })
    await overfill(shelf, 25)
    expect(shelf.evictions.length).toBeGreaterThan(3)
    expect(shelf.demoted.map(({ key }) => key)).toEqual(shelf.evictions.map(({ key }) => key).filter((key) => key !== 'k2'))
    for (const { key, payload } of shelf.demoted) {
      expect(await shelf.get(key)).toBeUndefined()
      expect((await bytesOf(payload)).equals(patterned(SIZE, Number(key.slice(1))))).toBe(true)
    }
    expect(shelf.openFiles).toBe(0)
    expect(shelf.temporaryFiles).toEqual([])
    expect(shelf.reports).toEqual([])
  })

  test('is at most one of sixteen that are open; beyond, they leave without their entries', async () => {
    const shelf = new Shelf({ maxBytes, demotes: () => true })
    await overfill(shelf, 60)
    expect(shelf.evictions.length).toBeGreaterThan(35)
    expect(shelf.demoted).toHaveLength(16)
    expect(shelf.openFiles).toBe(16)
    for (const { payload } of shelf.demoted.splice(0)) payload.cancel()
    expect(shelf.openFiles).toBe(0)
    await overfill(shelf, 5)
    expect(shelf.demoted.length).toBeGreaterThan(0)
    for (const { payload } of shelf.demoted) payload.cancel()
  })

  test('holds nothing open where it is small', async () => {
    const shelf = new Shelf({ maxBytes: 200_000, demotes: () => true })
    await overfill(shelf, 60, 8000)
    expect(shelf.demoted.length).toBeGreaterThan(30)
    expect(shelf.openFiles).toBe(0)
    const { key, payload } = shelf.demoted[0]!
    expect((await bytesOf(payload)).equals(patterned(8000, Number(key.slice(1))))).toBe(true)
  })

  test('is not offered when its life is over', async () => {
    const shelf = new Shelf({ maxBytes, demotes: () => true })
    for (let i = 0; i < 15; i++) await shelf.put(`over-${i}`, patterned(SIZE), { lifeMs: -1 })
    await overfill(shelf, 12)
    expect(shelf.evictions.length).toBeGreaterThan(3)
    expect(shelf.evictions.every(({ reason }) => reason === 'expired')).toBe(true)
    expect(shelf.demoted).toEqual([])
  })

  test('is offered to each manager that wants it', async () => {
    const shelf = new Shelf({ maxBytes, demotes: () => true })
    const offered: string[] = []
    const detach = shelf.backend.attach({
      clock: shelf.clock,
      report: () => undefined,
      demotes: (_scope, key) => key === 'k1',
      evicted: (_scope, key, entry) => {
        if (entry !== undefined) offered.push(key)
      },
    })
    await overfill(shelf, 25)
    expect(offered).toEqual(['k1'])
    expect(shelf.demoted.map(({ key }) => key)).toContain('k1')
    detach()
    for (const { payload } of shelf.demoted) payload.cancel()
  })

  test('that is damaged is no entry: it leaves, and its reader is told', async () => {
    const shelf = new Shelf({ maxBytes, demotes: () => true })
    await shelf.put('k0', patterned(SIZE))
    const bytes = fs.readFileSync(shelf.fileOf('k0'))
    bytes[50_000] = (bytes[50_000] ?? 0) ^ 1
    const { atime, mtime } = fs.statSync(shelf.fileOf('k0'))
    fs.writeFileSync(shelf.fileOf('k0'), bytes)
    fs.utimesSync(shelf.fileOf('k0'), atime, mtime)
    for (let i = 1; i < 25; i++) await shelf.put(`k${i}`, patterned(SIZE, i))
    const found = shelf.demoted.find(({ key }) => key === 'k0')
    await expect(bytesOf(found!.payload)).rejects.toMatchObject({ code: 'corrupt' })
    expect(shelf.reports).toMatchObject([{ code: 'corrupt', key: 'k0' }])
    for (const { payload } of shelf.demoted) payload.cancel()
  })

  test('keeps the limit while it is read', async () => {
    const shelf = new Shelf({ maxBytes, demotes: () => true })
    await overfill(shelf, 40)
    expect(shelf.backend.stats().bytes).toBeLessThanOrEqual(maxBytes)
    expect(shelf.evictions.length).toBeGreaterThan(20)
    for (const { payload } of shelf.demoted) payload.cancel()
  })
})

test('a manager demotes from one disk to another', async () => {
  const cold = new FileSystemBackend({ basePath: temporaryDirectory() })
  const cache = new TieredCacheManager({
    tiers: { warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory(), maxBytes }) }, cold: { backend: cold } },
    policies: { default: { tiers: { warm: true, cold: { write: 'demote' } } } },
    logger: false,
  })
  afterwards(() => cache.close())
  const acme = cache.tenant('acme')
  const demoted = new Set<string>()
  cache.on('demote', ({ key }) => demoted.add(key))
  for (let i = 0; i < 30; i++) {
    await acme.set(`k${i}`, patterned(SIZE, i))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  for (const until = Date.now() + 5000; demoted.size < 9 && Date.now() < until; ) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(demoted.size).toBeGreaterThanOrEqual(9)
  for (const key of [...demoted]) expect(patterned(SIZE, Number(key.slice(1))).equals((await acme.get<Buffer>(key)) as Buffer)).toBe(true)
})
