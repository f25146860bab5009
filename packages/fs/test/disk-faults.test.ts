import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect } from '@jest/globals'
import { TieredCacheManager, type CacheEvents, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { startChild } from './support/processes.js'
import { canMount, smallDisk, withDisk } from './support/small-disk.js'

const NOBODY = 65534
const as = canMount ? '' : 'skipped without root: '

function open(basePath: string, maxBytes?: number, coordination: TieredCacheManagerOptions['coordination'] = 'auto'): { cache: TieredCacheManager; degraded: CacheEvents['degraded'][]; recovered: () => number } {
  const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath, maxBytes }) } }, coordination, logger: false })
  afterwards(() => cache.close())
  const degraded: CacheEvents['degraded'][] = []
  let recovered = 0
  cache.on('degraded', (event) => degraded.push(event))
  cache.on('recovered', () => recovered++)
  return { cache, degraded, recovered: () => recovered }
}

async function within(ms: number, condition: () => boolean): Promise<void> {
  for (const until = Date.now() + ms; !condition(); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (Date.now() > until) throw new Error(`it did not happen within ${ms} ms`)
  }
}

describe(`${as}a disk that takes no writes stops writes and nothing else`, () => {
  withDisk.each([['without a limit', undefined], ['with a limit above the disk’s', 100e6]])('full, %s', async (_name, maxBytes) => {
    const disk = smallDisk(8)
    const { cache, degraded, recovered } = open(disk, maxBytes)
    const acme = cache.tenant('acme')
    await acme.set('keep', 'kept')
    for (let i = 0; i < 20; i++) await acme.set(`large-${i}`, Buffer.alloc(1e6, i))
    expect(degraded).toMatchObject([{ tier: 'warm', circuit: 'write', error: { code: 'storage-full' } }])
    expect(await acme.get('keep')).toBe('kept')
    expect(await acme.get('large-0')).toEqual(Buffer.alloc(1e6))
    expect(await acme.get('large-19')).toBeUndefined()
    expect(await acme.getOrCompute('new', () => 'computed')).toBe('computed')
    await within(5000, () => fs.readdirSync(path.join(disk, 'thermocline', 'tmp')).length === 0) // but for a probe under way
    expect(recovered()).toBe(0)
    for (let i = 0; i < 4; i++) expect(await acme.delete(`large-${i}`)).toBe(true)
    await within(5000, () => recovered() === 1)
    await acme.set('large-0', Buffer.alloc(1e6, 1))
    expect(await acme.get('large-0')).toEqual(Buffer.alloc(1e6, 1))
    expect(degraded).toHaveLength(1)
  }, 20_000)

  withDisk('full before it was ever used', async () => {
    const disk = smallDisk(1)
    fs.writeFileSync(path.join(disk, 'other'), Buffer.alloc(1 << 20))
    const { cache, degraded, recovered } = open(disk, 1e6)
    const acme = cache.tenant('acme')
    await acme.set('k', Buffer.alloc(100_000))
    expect(await acme.get('k')).toBeUndefined()
    expect(degraded).toMatchObject([{ circuit: 'write', error: { code: 'storage-full' } }])
    fs.rmSync(path.join(disk, 'other'))
    await within(5000, () => recovered() === 1)
    await acme.set('k', 'v')
    expect(await acme.get('k')).toBe('v')
  }, 20_000)

  withDisk('remounted read-only', async () => {
    const disk = smallDisk(8)
    const { cache, degraded, recovered } = open(disk, 4e6, false) // a log that is open to be appended to would keep the mount busy
    const acme = cache.tenant('acme')
    await acme.set('k', 'old')
    await acme.set('other', 'kept')
    execFileSync('mount', ['-o', 'remount,ro', disk])
    await acme.set('k', 'new')
    expect(degraded).toMatchObject([{ circuit: 'write', error: { code: 'read-only' } }])
    expect(await acme.get('k')).toBeUndefined()
    expect(await acme.get('other')).toBe('kept')
    execFileSync('mount', ['-o', 'remount,rw', disk])
    await within(5000, () => recovered() === 1)
    await acme.set('k', 'newer')
    expect(await acme.get('k')).toBe('newer')
    expect(await acme.get('other')).toBe('kept')
  }, 20_000)

  withDisk.each([
    ['the whole directory', ['', 'tenants', 'tenants/acme', 'tmp']],
    ['the directory of temporary files', ['tmp']],
  ])('%s belongs to somebody else', async (_name, directories) => {
    const basePath = temporaryDirectory()
    const { cache } = open(basePath)
    await cache.tenant('acme').set('there', 'kept')
    fs.chmodSync(basePath, 0o777)
    const root = path.join(basePath, 'thermocline')
    for (const file of ['', ...(fs.readdirSync(root, { recursive: true }) as string[])]) fs.chownSync(path.join(root, file), NOBODY, NOBODY)
    for (const directory of directories) {
      fs.chownSync(path.join(root, directory), 0, 0)
      fs.chmodSync(path.join(root, directory), 0o755)
    }
    const child = startChild('probe', basePath, { maxBytes: 10e6 }, { uid: NOBODY, gid: NOBODY })
    expect(await child.ended).toBe(0)
    expect(child.output()).toMatch(/degraded write read-only/)
    expect(child.output()).toMatch(/^get kept$/m)
  }, 20_000)

  withDisk('one entry that cannot be removed does not keep others from being evicted or written', async () => {
    const basePath = temporaryDirectory()
    const { cache, degraded } = open(basePath, 400_000)
    const acme = cache.tenant('acme')
    await acme.set('locked', Buffer.alloc(50_000))
    const file = path.join(basePath, 'thermocline', 'tenants', 'acme', 'locked.tc')
    try {
      execFileSync('chattr', ['+i', file], { stdio: 'ignore' })
    } catch {
      return console.warn('SKIPPED: this file system has no immutable files')
    }
    afterwards(() => execFileSync('chattr', ['-i', file]))
    for (let i = 0; i < 20; i++) await acme.set(`k${i}`, Buffer.alloc(50_000))
    expect(await acme.get('k19')).toEqual(Buffer.alloc(50_000))
    expect(await acme.get('k0')).toBeUndefined()
    expect(await acme.get('locked')).toEqual(Buffer.alloc(50_000))
    expect(degraded).toEqual([])
    const errors: string[] = []
    cache.on('error', ({ error }) => errors.push(error.code))
    await acme.set('locked', 'new')
    expect(await acme.get('locked')).toBeUndefined()
    expect(errors).toEqual(['failed'])
  }, 20_000)
})
