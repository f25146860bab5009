import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { Faults } from '@thermocline/testkit'
import { smallDisk, withDisk } from '../../packages/fs/test/support/small-disk.js'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

jest.retryTimes(2, { logErrorsBeforeRetry: true }) // latency on a machine that runs other suites at the same time

/** Only the slow tier is asked. */
const COLD = { tiers: { warm: false } } as const
const LARGE = Buffer.alloc(3 * 1024 ** 2, 7)

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly cold: Faults
  readonly errors: string[]
  readonly warnings: string[]
}

/** A disk, and another directory as the slow tier that is written back to; the journal lies elsewhere. */
function stack(directory: string, basePath = temporaryDirectory()): Stack {
  const cold = new Faults()
  const warnings: string[] = []
  const cache = new TieredCacheManager({
    tiers: {
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }), budget: '500ms' },
      cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [cold.layer] },
    },
    policies: { default: { tiers: { cold: { write: 'back' } } } },
    logger: { info: () => undefined, warn: (message) => warnings.push(message) },
    writeBack: { directory },
  })
  afterwards(async () => {
    cold.heal()
    await cache.close()
  })
  const errors: string[] = []
  cache.on('error', ({ error, operation, tier }) => errors.push(`${operation} ${tier} ${error.code}`))
  return { cache, acme: cache.tenant('acme'), cold, errors, warnings }
}

/** Sets in every way there is while the journal takes nothing: each ends in both tiers, and the disk tier is well. */
async function expectThrough({ cache, acme, errors, warnings }: Stack, payload: Buffer | string): Promise<void> {
  for (let at = 0; at < 8; at++) await acme.set(`set${at}`, payload)
  await acme.setMany([['many', payload]])
  await acme.setStream('stream', [Buffer.from(payload)])
  await acme.getOrCompute('computed', () => payload)
  for await (const _chunk of await acme.getOrComputeStream('produced', () => [Buffer.from(payload)]));
  for (const key of ['set0', 'set7', 'many', 'stream', 'computed', 'produced']) {
    for (const options of [{}, COLD]) expect([key, Buffer.from((await acme.get<Buffer | string>(key, options)) ?? '').length]).toEqual([key, payload.length])
  }
  const { tiers, writeBack } = await cache.stats()
  expect(tiers.warm?.state).toBe('ok')
  expect(writeBack).toMatchObject({ pending: 0, removalsOwed: 0 })
  expect(errors.filter((error) => !error.startsWith('write-back '))).toEqual([])
  expect(errors.length).toBeGreaterThan(0)
  expect(warnings).toHaveLength(1)
}

/** It is used again. */
async function expectUsed({ cache, acme, cold }: Stack): Promise<void> {
  cold.inject({ fail: 'failed' }, 'put')
  await acme.set('again', 'value')
  expect((await cache.stats()).writeBack.pending).toBe(1)
  cold.heal()
  expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
  expect(await acme.get('again', COLD)).toBe('value')
}

describe('a journal on a disk of its own', () => {
  withDisk('that is full costs the disk tier nothing: what is to be written back is written through', async () => {
    const disk = smallDisk(2)
    const one = stack(path.join(disk, 'journal'))
    await expectThrough(one, LARGE)
    await expectUsed(one) // there is room for this
  }, 60_000)

  withDisk('that is mounted read-only neither', async () => {
    const disk = smallDisk(8)
    const directory = path.join(disk, 'journal')
    const one = stack(directory)
    await one.acme.set('first', 'value')
    await one.cache.flush()
    execFileSync('mount', ['-o', 'remount,ro', disk])
    await expectThrough(one, 'value')
    execFileSync('mount', ['-o', 'remount,rw', disk])
    await expectUsed(one)
  }, 60_000)

  withDisk('that is read-only from the start, with what another process left in it, does so too', async () => {
    const disk = smallDisk(8)
    const directory = path.join(disk, 'journal')
    const basePath = temporaryDirectory()
    const before = stack(directory, basePath)
    before.cold.inject({ fail: 'unavailable' })
    await before.acme.set('left', 'value')
    await before.cache.close({ deadline: '100ms' })
    execFileSync('mount', ['-o', 'remount,ro', disk])
    const one = stack(directory, basePath)
    for (let at = 0; at < 8; at++) await one.acme.set(`k${at}`, 'value')
    await one.acme.delete('k1')
    expect(await one.acme.get('k7', COLD)).toBe('value')
    expect((await one.cache.stats()).tiers.warm?.state).toBe('ok')
  }, 60_000)

  test('that cannot be made, because a file is in its place, neither; when it can it is used', async () => {
    const file = path.join(temporaryDirectory(), 'file')
    fs.writeFileSync(file, 'mine')
    const one = stack(path.join(file, 'journal'))
    await expectThrough(one, 'value')
    fs.rmSync(file)
    await expectUsed(one)
  }, 60_000)

  test('that hangs costs one set some of its budget', async () => {
    const directory = path.join(temporaryDirectory(), 'journal')
    const one = stack(directory)
    await one.acme.set('first', 'value')
    await one.cache.flush()
    const held: (() => void)[] = []
    const { link, linkSync } = fs
    const isIn = (file: unknown): boolean => String(file).startsWith(directory)
    const spies = [
      jest.spyOn(fs, 'link').mockImplementation(((from: string, to: string, done: fs.NoParamCallback) => {
        if (isIn(to)) held.push(() => link(from, to, done))
        else link(from, to, done)
      }) as never),
      jest.spyOn(fs, 'linkSync').mockImplementation(((from: string, to: string) => {
        if (isIn(to)) throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
        linkSync(from, to)
      }) as never),
      jest.spyOn(fs.promises, 'copyFile').mockImplementation((() => new Promise<void>((_resolve, reject) => held.push(() => reject(Object.assign(new Error('EIO'), { code: 'EIO' })))))),
    ]
    const startedAt = performance.now()
    try {
      for (let at = 0; at < 20; at++) await one.acme.set(`k${at}`, 'value')
      expect(performance.now() - startedAt).toBeLessThan(2500)
      expect(held).toHaveLength(1)
      expect(await one.acme.get('k0')).toBe('value')
      expect(await one.acme.get('k0', COLD)).toBeUndefined() // it had waited already
      expect(await one.acme.get('k19', COLD)).toBe('value')
      expect((await one.cache.stats()).tiers.warm?.state).toBe('ok')
      expect(one.errors.every((error) => error.startsWith('write-back '))).toBe(true)
    } finally {
      for (const spy of spies) spy.mockRestore()
      for (const go of held) go()
    }
    await until('it has ended', async () => (await one.cache.stats()).writeBack.removalsOwed === 0)
    await expectUsed(one)
    expect(await one.acme.get('k0', COLD)).toBeUndefined()
  }, 60_000)
})

describe('what others put into the directory of the journal', () => {
  test('keeps no manager from starting, and nobody waiting', async () => {
    const basePath = temporaryDirectory()
    const before = stack(path.join(basePath, 'journal'), basePath)
    before.cold.inject({ fail: 'unavailable' })
    await before.acme.set('left', 'value')
    await before.cache.close({ deadline: '100ms' })
    const root = path.join(basePath, 'journal')
    const directory = path.join(root, fs.readdirSync(root)[0] as string)
    const name = (sequence: number): string => path.join(directory, `${String(sequence).padStart(16, '0')}-never-cold.tc`)
    execFileSync('mkfifo', [name(1), path.join(directory, 'superseded.jsonl'), path.join(root, 'damaged')])
    fs.mkdirSync(name(2))
    fs.symlinkSync('/dev/zero', name(3))
    fs.symlinkSync(name(4), name(4))
    fs.writeFileSync(name(5), '')
    fs.truncateSync(name(5), 1024 ** 4) // a huge one with nothing in it
    fs.writeFileSync(name(9_999_999_999_999_999), 'not a copy')
    fs.symlinkSync('/', path.join(root, 'released.0123456789ab'))
    fs.writeFileSync(path.join(root, 'elsewhere.0123456789abcdef.1.7.0123456789ab'), 'a file')
    const startedAt = performance.now()
    const one = stack(root, basePath)
    expect(performance.now() - startedAt).toBeLessThan(2000)
    expect(await one.cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await one.acme.get('left', COLD)).toBe('value')
    await one.acme.delete('left')
    await expectUsed(one)
  }, 60_000)
})
