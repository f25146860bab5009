import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { fileName, layoutOf, tenantDirectory } from '../src/layout.js'
import { scopeOf, Shelf } from './support/shelf.js'

const LENGTHS = [1, 50, 139, 140, 141, 143, 144, 200, 252, 253, 300, 1024]
const keyOf = (length: number): string => 'k'.repeat(length)

describe('names on the disk', () => {
  test('are never longer than what an encrypted directory takes', () => {
    const layout = layoutOf('/base')
    for (const length of LENGTHS) expect(fileName(keyOf(length)).length).toBeLessThanOrEqual(143)
    for (const tenant of ['t'.repeat(128), 'T'.repeat(128), 'é'.repeat(64)]) expect(path.basename(tenantDirectory(layout, scopeOf(tenant))).length).toBeLessThanOrEqual(143)
  })

  test('let keys of every length be stored where a name may have 143 bytes, and a path 4095', async () => {
    const calls = ['open', 'rename', 'link', 'lstat', 'stat', 'unlink'] as const
    for (const name of calls) {
      const original = fs[name] as (...args: unknown[]) => void
      const limited = (...args: unknown[]): void => {
        const tooLong = args.find((arg) => typeof arg === 'string' && arg.split(path.sep).some((part) => Buffer.byteLength(part) > 143))
        if (tooLong === undefined) original.apply(fs, args)
        else (args.at(-1) as (error: Error) => void)(Object.assign(new Error('ENAMETOOLONG'), { code: 'ENAMETOOLONG', path: tooLong }))
      }
      ;(fs as unknown as Record<string, unknown>)[name] = limited
      afterwards(() => ((fs as unknown as Record<string, unknown>)[name] = original))
    }
    const shelf = new Shelf()
    const tenant = 'T'.repeat(100)
    for (const length of LENGTHS) expect([length, await shelf.put(keyOf(length), `${length}`, { tenant })]).toEqual([length, true])
    for (const length of LENGTHS) expect(String(await shelf.get(keyOf(length), { tenant }))).toBe(`${length}`)
    expect(await shelf.keys(tenant)).toEqual(LENGTHS.map(keyOf).sort())
    expect(await shelf.delete(keyOf(300), tenant)).toBe(1)
    expect(await shelf.clear('', tenant)).toBe(LENGTHS.length - 1)
    expect(shelf.reports).toEqual([])
  })

  test.each([3600, 3780, 3850, 3930])('leave room for every key below a base path of %s bytes', async (bytes) => {
    let basePath = temporaryDirectory()
    while (basePath.length < bytes) basePath = path.join(basePath, 'd'.repeat(Math.min(200, bytes - basePath.length - 1)) || 'd')
    const shelf = new Shelf({ basePath })
    for (const length of LENGTHS) expect([length, await shelf.put(keyOf(length), 'v', { tenant: 't'.repeat(128) })]).toEqual([length, true])
    for (const length of LENGTHS) expect(String(await shelf.get(keyOf(length), { tenant: 't'.repeat(128) }))).toBe('v')
  })

  test('that are too long even so are said to be the base path’s fault', async () => {
    let basePath = temporaryDirectory()
    while (basePath.length < 4080) basePath = path.join(basePath, 'd'.repeat(Math.min(200, 4080 - basePath.length)))
    await expect(new Shelf({ basePath }).put('k', 'v')).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('shorter basePath') as unknown })
  })
})

describe('what an earlier release stored under a name of up to 255 bytes', () => {
  const key = keyOf(200)
  const tenant = 'acme'

  /** An entry as the earlier release had it. */
  async function earlier(): Promise<{ shelf: Shelf; before: string; now: string }> {
    const shelf = new Shelf()
    await shelf.put(key, 'earlier')
    const now = path.join(shelf.root, 'tenants', tenant, fileName(key))
    const before = path.join(shelf.root, 'tenants', tenant, `${key}.tc`)
    fs.renameSync(now, before)
    return { shelf, before, now }
  }

  test('is read, as a stream too, and listed', async () => {
    const { shelf } = await earlier()
    expect(String(await shelf.get(key))).toBe('earlier')
    expect((await shelf.getStream(key))?.byteLength).toBe(7)
    expect(await shelf.keys()).toEqual([key])
    expect(await shelf.put(key, 'promoted', { onlyIfAbsent: true })).toBe(false)
  })

  test('is replaced by a set, so that it never comes back', async () => {
    const { shelf, before, now } = await earlier()
    await shelf.put(key, 'new')
    expect([fs.existsSync(before), fs.existsSync(now)]).toEqual([false, true])
    expect(await shelf.delete(key)).toBe(1)
    expect(await shelf.get(key)).toBeUndefined()
  })

  test('is deleted, and cleared, under either name, and listed once', async () => {
    const { shelf, before, now } = await earlier()
    fs.copyFileSync(before, now)
    expect(await shelf.keys()).toEqual([key])
    expect(await shelf.delete(key)).toBe(1)
    expect([fs.existsSync(before), fs.existsSync(now)]).toEqual([false, false])
    const again = await earlier()
    expect(await again.shelf.clear('k')).toBe(1)
    expect(fs.existsSync(again.before)).toBe(false)
  })

  test('in a directory of a tenant whose name was that long is found as well', async () => {
    const shelf = new Shelf()
    const long = 'T'.repeat(80) // encoded: 240 bytes
    await shelf.put('k', 'earlier', { tenant: long })
    const now = tenantDirectory(layoutOf(shelf.basePath), scopeOf(long))
    fs.renameSync(now, tenantDirectory(layoutOf(shelf.basePath), scopeOf(long), 255))
    expect(String(await shelf.get('k', { tenant: long }))).toBe('earlier')
    expect(await shelf.keys(long)).toEqual(['k'])
    expect(await shelf.clear('', long)).toBe(1)
    expect(await shelf.get('k', { tenant: long })).toBeUndefined()
  })
})
