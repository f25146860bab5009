import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import {
  isStreamed,
  withChunks,
  WrappedBackend,
  type Awaitable,
  type BackendCapabilities,
  type CacheBackend,
  type CacheEntry,
  type PutOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { deferred } from '../support/rig.js'
import { until } from '../support/servers/until.js'

const MIB = 1024 ** 2

/** A far store: of a streamed put it takes the first chunk, and the others when it is let. */
class FarStore extends WrappedBackend {
  readonly #plain: boolean
  readonly #gate = deferred<undefined>()
  /** Streamed puts that have begun, and how those went that have ended. */
  begun = 0
  readonly ended: string[] = []

  constructor(inner: CacheBackend, plain: boolean) {
    super(inner)
    this.#plain = plain
  }

  override get capabilities(): BackendCapabilities {
    return { ...this.inner.capabilities, plain: this.#plain ? { maxMetadataBytes: 2048 } : undefined }
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    if (!isStreamed(entry)) return super.put(scope, key, entry, options)
    this.begun++
    const put = Promise.resolve(super.put(scope, key, withChunks(entry, () => this.#slow(entry.payload.chunks())), options))
    put.then((stored) => this.ended.push(stored ? 'stored' : 'refused'), () => this.ended.push('given up'))
    return put
  }

  /** Takes what comes. */
  open(): void {
    this.#gate.resolve(undefined)
  }

  async *#slow(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      yield chunk
      await this.#gate.promise
    }
  }
}

/** The ways on which a large stream gets into a far store behind a disk. */
const WAYS = [
  { way: 'written back', write: 'back', plain: false },
  { way: 'copied from the disk, as a store of plain objects wants to know its length', write: 'through', plain: true },
] as const

function stack({ write, plain }: (typeof WAYS)[number]): { acme: TenantCache; far: FarStore; cache: TieredCacheManager; errors: string[] } {
  const basePath = temporaryDirectory()
  const far = new FarStore(new FileSystemBackend({ basePath: path.join(basePath, 'far') }), plain)
  const cache = new TieredCacheManager({
    // so long a budget that nothing here is about it: what waited for it would outlast the test
    tiers: { near: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'near') }) }, far: { backend: far, budget: '60s' } },
    policies: { default: { tiers: { far: { write } } } },
    logger: false,
  })
  afterwards(async () => {
    far.open()
    await cache.close()
  })
  const errors: string[] = []
  cache.on('error', ({ error }) => errors.push(error.message))
  return { acme: cache.tenant('acme'), far, cache, errors }
}

const CHUNKS = Array.from({ length: 12 }, (_, at) => Buffer.alloc(MIB, at + 1))
const FAR = { tiers: { near: false } } as const

describe.each(WAYS)('a large stream that is $way', (way) => {
  /** Begins one that hangs on its way. */
  async function underWay(): Promise<ReturnType<typeof stack> & { setting: Promise<void> }> {
    const staged = stack(way)
    const setting = staged.acme.setStream('k', CHUNKS)
    await until('it is on its way', () => staged.far.begun > 0)
    return { ...staged, setting }
  }

  test('arrives', async () => {
    const { acme, far, cache, setting, errors } = await underWay()
    far.open()
    await setting
    await cache.flush()
    expect(far.ended).toEqual(['stored'])
    const got = await acme.get('k', FAR)
    expect(Buffer.isBuffer(got) && got.equals(Buffer.concat(CHUNKS))).toBe(true)
    expect(errors).toEqual([])
  })

  test('is not seen in the far store before all of it is there', async () => {
    const { acme, far, setting } = await underWay()
    if (way.write === 'through') expect(await acme.get('k', FAR)).toBeUndefined()
    far.open()
    await setting
  })

  test.each([
    ['delete', (acme: TenantCache) => acme.delete('k'), undefined],
    ['clear', (acme: TenantCache) => acme.clear(), undefined],
    ['set', (acme: TenantCache) => acme.set('k', 'newer'), 'newer'],
  ] as const)('a %s does not wait for it, and ends it', async (_, call, after) => {
    const { acme, far, cache, setting, errors } = await underWay()
    await call(acme)
    await setting // superseded
    expect(await acme.get('k')).toBe(after)
    if (way.write === 'through') expect(await acme.get('k', FAR)).toBe(after)
    far.open()
    await until('it was given up', () => far.ended.length > 0)
    expect(far.ended).toEqual(['given up'])
    await cache.flush()
    expect(await acme.get('k', FAR)).toBe(after)
    expect(errors).toEqual([])
  })

  test('a stream that supersedes another is the one that stays', async () => {
    const { acme, far, cache, setting } = await underWay()
    const newer = acme.setStream('k', [Buffer.from('newer')])
    far.open()
    await Promise.all([setting, newer])
    await cache.flush()
    expect(String(await acme.get('k', FAR))).toBe('newer')
  })

  test('another key does not notice', async () => {
    const { acme, far, setting } = await underWay()
    await acme.set('other', 1, { tiers: { far: true } })
    expect(await acme.get('other', FAR)).toBe(1)
    far.open()
    await setting
  })
})
