import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type CacheEvents } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { asFsError } from '../src/errors.js'
import { Shelf } from './support/shelf.js'

const error = (code: string): Error => Object.assign(new Error(code), { code })

describe('a failure of the file system', () => {
  test.each(['EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EFBIG', 'EMFILE', 'ENFILE', 'EBUSY', 'ETXTBSY', 'ENOTSUP', 'EUNHEARDOF'])('%s at an entry’s file concerns that entry', (code) => {
    expect(asFsError(error(code), 'get', 'k').concerns).toBe('key')
  })

  test.each(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'ENODEV', 'ESTALE', 'ENOTCONN'])('%s concerns the tier, wherever it is met', (code) => {
    expect([asFsError(error(code), 'get', 'k').concerns, asFsError(error(code), 'put', undefined, true).concerns]).toEqual(['tier', 'tier'])
  })

  test.each(['EACCES', 'ENOTDIR', 'ENAMETOOLONG', 'ENOENT'])('%s where temporary files are made concerns the tier', (code) => {
    expect(asFsError(error(code), 'put', undefined, true).concerns).toBe('tier')
  })

  test.each(['EMFILE', 'EFBIG', 'EINTR'])('%s does not, not even there', (code) => {
    expect(asFsError(error(code), 'put', undefined, true).concerns).toBe('key')
  })
})

/** Lets the file system refuse what is done with one entry's file. */
function refuse(file: string, code: string): () => void {
  const open = fs.open
  fs.open = ((name: fs.PathLike, ...rest: unknown[]) => {
    if (name === file) return process.nextTick(rest.at(-1) as (error: Error) => void, Object.assign(new Error(code), { code, path: file }))
    ;(open as (...args: unknown[]) => void)(name, ...rest)
  }) as typeof fs.open
  const restore = (): void => void (fs.open = open)
  afterwards(restore)
  return restore
}

describe('an entry’s file that may not be read', () => {
  test.each(['EACCES', 'EPERM'])('%s: is a miss, reported once however often it is read, until it was replaced', async (code) => {
    const shelf = new Shelf()
    await shelf.put('k', 'old')
    await shelf.put('other', 'kept')
    let restore = refuse(shelf.fileOf('k'), code)
    for (let i = 0; i < 20; i++) expect(await shelf.get('k')).toBeUndefined()
    expect(await shelf.getStream('k')).toBeUndefined()
    expect(shelf.reports).toMatchObject([{ concerns: 'key', key: 'k' }])
    expect(String(await shelf.get('other'))).toBe('kept')
    expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(false)
    expect(await shelf.put('k', 'new')).toBe(true)
    restore()
    expect(String(await shelf.get('k'))).toBe('new')
    restore = refuse(shelf.fileOf('k'), code)
    await shelf.get('k')
    expect(shelf.reports).toHaveLength(2)
  })

  test('says which option lets several users share the directory', async () => {
    const shelf = new Shelf()
    await shelf.put('k', 'v')
    refuse(shelf.fileOf('k'), 'EACCES')
    await shelf.get('k')
    expect(shelf.reports).toMatchObject([{ code: 'access-denied', message: expect.stringContaining("access: 'group'") as unknown }])
  })

  test('does not keep a delete of several keys, or a clear, from the others', async () => {
    const shelf = new Shelf()
    for (const key of ['a', 'b', 'c']) await shelf.put(key, key)
    const restore = refuse(shelf.fileOf('b'), 'EACCES')
    await expect(shelf.clear()).rejects.toMatchObject({ concerns: 'key', code: 'access-denied' })
    restore()
    expect(await shelf.keys()).toEqual(['b'])
  })

  test('of which only the header knows the key is left out of a listing', async () => {
    const shelf = new Shelf()
    const long = 'x'.repeat(400)
    await shelf.put(long, 'long')
    await shelf.put('k', 'v')
    const directory = path.join(shelf.root, 'tenants', 'acme')
    refuse(path.join(directory, fs.readdirSync(directory).find((name) => name.startsWith('~')) as string), 'EACCES')
    expect(await shelf.keys()).toEqual(['k'])
    expect(shelf.reports).toHaveLength(1)
  })
})

describe('entries in whose places nothing can be', () => {
  function open(basePath: string): { cache: TieredCacheManager; degraded: CacheEvents['degraded'][]; errors: CacheEvents['error'][] } {
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath }) } }, logger: false })
    afterwards(() => cache.close())
    const degraded: CacheEvents['degraded'][] = []
    const errors: CacheEvents['error'][] = []
    cache.on('degraded', (event) => degraded.push(event))
    cache.on('error', (event) => errors.push(event))
    return { cache, degraded, errors }
  }

  test('one tenant’s directory that is a file, or a link to nowhere, is no matter of the others', async () => {
    const basePath = temporaryDirectory()
    const { cache, degraded, errors } = open(basePath)
    await cache.tenant('acme').set('k', 'v')
    fs.writeFileSync(path.join(basePath, 'thermocline', 'tenants', 'blocked'), 'in the way')
    fs.symlinkSync('/nowhere/at/all', path.join(basePath, 'thermocline', 'tenants', 'linked'))
    for (let i = 0; i < 4; i++) {
      for (const tenant of ['blocked', 'linked']) await cache.tenant(tenant).set(`k${i}`, 'v')
    }
    expect(errors.every(({ error }) => error.concerns === 'key')).toBe(true)
    expect(errors.length).toBeGreaterThan(0)
    expect(degraded).toEqual([])
    expect(await cache.tenant('acme').get('k')).toBe('v')
  })

  test('the directory of all tenants that cannot be reached concerns the tier', async () => {
    const basePath = temporaryDirectory()
    const shelf = new Shelf({ basePath })
    await shelf.put('k', 'v')
    fs.rmSync(path.join(shelf.root, 'tenants'), { recursive: true })
    fs.writeFileSync(path.join(shelf.root, 'tenants'), 'in the way')
    await expect(shelf.delete('k').then(() => shelf.put('k', 'v'))).rejects.toMatchObject({ concerns: 'tier', code: 'unavailable' })
  })
})
