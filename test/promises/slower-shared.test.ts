import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { WrappedBackend, type BackendCapabilities, type CacheEntry, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { SharedStore } from '@thermocline/testkit'
import { until } from '../support/servers/until.js'

/*
 * A slower tier that other processes read as well, such as a bucket, below the one over which processes agree: what is found there goes into the faster one,
 * but never what was invalidated meanwhile.
 */

/** A directory as a bucket: other processes read it wherever they run. */
class Bucket extends WrappedBackend {
  /** Comes between what is read and whoever has asked for it. */
  between = (): Promise<unknown> => Promise.resolve()

  override get capabilities(): BackendCapabilities {
    return { ...this.inner.capabilities, shared: true }
  }

  override async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const found = await this.inner.get(scope, key, options)
    if (found !== undefined) await this.between()
    return found
  }

  override async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    const found = await this.inner.getMany(scope, keys, options)
    await this.between()
    return found
  }
}

let basePath: string
let store: SharedStore
let managers: TieredCacheManager[]

const open = (bucket = new Bucket(new FileSystemBackend({ basePath }))): TenantCache => {
  const tiers = { hot: { backend: store.backend() }, cold: { backend: bucket } }
  const manager = new TieredCacheManager({ tiers, defaultTtl: '1d', logger: false })
  managers.push(manager)
  return manager.tenant('acme')
}
const storedKeys = (): string[] => [...store.entries.keys()].map((name) => name.split('\0').at(-1) as string).sort()
const lines = (): number => [...store.lines.values()].filter(({ length }) => length > 0).length
const textOf = async (stream: AsyncIterable<Buffer> | undefined): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of stream ?? []) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
const connected = (): Promise<unknown> =>
  until('all hear each other', async () => (await Promise.all(managers.map((manager) => manager.health()))).every(({ coordination }) => coordination.status === 'connected'))

beforeEach(async () => {
  basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-bucket-'))
  store = new SharedStore()
  managers = []
})
afterEach(async () => {
  await Promise.all(managers.map((manager) => manager.close()))
  await rm(basePath, { recursive: true, force: true, maxRetries: 5 })
})

const LARGE = 'x'.repeat(300_000)
const READS: Readonly<Record<string, (acme: TenantCache, key: string) => Promise<unknown>>> = {
  get: (acme, key) => acme.get(key),
  getMany: async (acme, key) => (await acme.getMany([key, 'nowhere', 'neither'])).get(key),
  getOrCompute: (acme, key) => acme.getOrCompute(key, () => 'computed'),
  getOrComputeMany: async (acme, key) => (await acme.getOrComputeMany([key], (missing) => new Map(missing.map((one) => [one, 'computed'])))).get(key),
  getStream: async (acme, key) => textOf(await acme.getStream(key)),
  getOrComputeStream: async (acme, key) => textOf(await acme.getOrComputeStream(key, () => [Buffer.from('computed')])),
}

describe.each(Object.keys(READS))('%s', (verb) => {
  const read = READS[verb]!
  const isStream = verb.endsWith('Stream')
  const put = (acme: TenantCache, key: string, value: string): Promise<unknown> => acme.set(key, isStream ? Buffer.from(value) : value, { tiers: { hot: false } })

  test('puts what it finds in a slower shared tier into the one over which processes agree, and leaves no place behind', async () => {
    const acme = open()
    await connected()
    for (const [key, value] of [['small', 'v'], ['large', LARGE]] as const) {
      await put(acme, key, value)
      expect(await read(acme, key)).toBe(value)
      await until(`${key} is stored`, () => storedKeys().includes(key))
    }
    await managers[0]!.flush()
    await until('no place is left', () => lines() === 0)
  })

  test('leaves no place behind where nothing is found', async () => {
    const acme = open()
    await connected()
    await read(acme, 'nothing')
    await managers[0]!.flush()
    await until('no place is left', () => lines() === 0)
  })

  test('does not bring back what another process has deleted while it was read', async () => {
    const bucket = new Bucket(new FileSystemBackend({ basePath }))
    const [one, other] = [open(bucket), open()]
    await connected()
    await put(one, 'k', LARGE)
    let isFirst = true
    bucket.between = async () => {
      if (!isFirst) return
      isFirst = false
      await other.delete('k')
    }
    await read(one, 'k')
    expect(isFirst).toBe(false)
    await managers[0]!.flush()
    const values = await Promise.all([one, other].map((acme) => acme.get('k')))
    expect([values, storedKeys()]).toEqual([[undefined, undefined], []])
  })
})
