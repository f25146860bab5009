import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

interface StackOptions extends Partial<TieredCacheManagerOptions> {
  readonly basePath?: string
  readonly maxBytes?: number
  /** Layers of the cold tier start with a fault. */
  readonly begin?: (cold: Faults) => void
}

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly warm: Faults
  readonly cold: Faults
  readonly basePath: string
  readonly errors: string[]
  /** What the cold tier has by itself, without the copies that answer for it. */
  readonly coldKeys: () => Promise<string[]>
}

/** Memory and a disk, and another directory as the slow tier that is written back to. */
function stack({ basePath = temporaryDirectory(), maxBytes, begin, ...options }: StackOptions = {}): Stack {
  const warm = new Faults()
  const cold = new Faults()
  begin?.(cold)
  const store = new FileSystemBackend({ basePath: path.join(basePath, 'cold') })
  const cache = new TieredCacheManager({
    tiers: {
      hot: { backend: new MemoryBackend() },
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm'), ...(maxBytes === undefined ? {} : { maxBytes }) }), layers: [warm.layer] },
      cold: { backend: store, layers: [cold.layer] },
    },
    policies: { default: { tiers: { cold: { write: 'back' } } } },
    logger: false,
    ...options,
  })
  const other = new TieredCacheManager({ tiers: { cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }) } }, logger: false })
  afterwards(async () => {
    for (const faults of [warm, cold]) {
      faults.heal()
      faults.release()
    }
    await Promise.all([cache.close(), other.close()])
  })
  const errors: string[] = []
  cache.on('error', ({ error, operation }) => errors.push(`${operation} ${error.code}`))
  const coldKeys = async (): Promise<string[]> => {
    const keys: string[] = []
    for await (const { key } of other.tenant('acme').list()) keys.push(key)
    return keys.sort()
  }
  return { cache, acme: cache.tenant('acme'), warm, cold, basePath, errors, coldKeys }
}

/** Only the slow tier is asked. */
const COLD = { tiers: { hot: false, warm: false } } as const

describe('write-back', () => {
  test('a set is answered before the slow tier has it, and flush waits until it has', async () => {
    const { cache, acme, cold, coldKeys } = stack({ begin: (faults) => faults.inject('hang', 'put') })
    await acme.set('k', { a: 1 }, { metadata: { m: 'x' } })
    expect(await coldKeys()).toEqual([])
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 1 })
    const written: string[] = []
    cache.on('writeBack', ({ key, tier }) => written.push(`${key} ${tier}`))
    cold.heal()
    cold.release()
    expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await coldKeys()).toEqual(['k'])
    expect(written).toEqual(['k cold'])
    expect(await acme.lookup('k', COLD)).toMatchObject({ value: { a: 1 }, metadata: { m: 'x' }, tier: 'cold' })
    expect((await cache.stats()).writeBack).toEqual({ pending: 0, bytes: 0, uploaded: 1, retries: 0, removalsOwed: 0 })
  })

  test('until then its copy answers for the slow tier, also when the disk has evicted the entry', async () => {
    const { acme, basePath } = stack({ begin: (faults) => faults.inject('hang', 'put') })
    await acme.set('k', 'new')
    fs.rmSync(path.join(basePath, 'warm', 'thermocline', 'tenants'), { recursive: true })
    expect(await acme.get('k', COLD)).toBe('new')
    expect(await acme.getMany(['k', 'other'], COLD)).toEqual(new Map([['k', 'new']]))
    expect(await acme.lookup('k', COLD)).toMatchObject({ tier: 'cold', value: 'new' })
    expect(await acme.has('k', COLD)).toBe(true)
    const chunks: Buffer[] = []
    for await (const chunk of (await acme.getStream('k', COLD)) ?? []) chunks.push(chunk as Buffer)
    expect(String(Buffer.concat(chunks))).toBe('new')
  })

  test('a computed value is written back too, and a stream', async () => {
    const { cache, acme, coldKeys } = stack()
    await acme.getOrCompute('computed', () => 'value')
    await acme.setStream('streamed', [Buffer.from('a'), Buffer.from('b')])
    const stream = await acme.getOrComputeStream('produced', () => [Buffer.alloc(300_000, 1)])
    for await (const _chunk of stream);
    await cache.flush()
    expect(await coldKeys()).toEqual(['computed', 'produced', 'streamed'])
    expect(await acme.get('streamed', COLD)).toEqual(Buffer.from('ab'))
    expect(await acme.get<Buffer>('produced', COLD)).toHaveProperty('byteLength', 300_000)
  })

  test('a failed upload is tried again', async () => {
    const { cache, acme, cold, coldKeys, errors } = stack({ begin: (faults) => faults.inject({ fail: 'failed' }, 'put') })
    await acme.set('k', 1)
    await until('it has failed', () => errors.length > 0)
    expect(errors[0]).toBe('write-back failed')
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 1, retries: 1 })
    expect(await coldKeys()).toEqual([])
    expect(await acme.get('k', COLD)).toBe(1)
    cold.heal()
    await until('it is there', async () => (await coldKeys()).length === 1)
  })

  test.each(['delete', 'clear', 'set'] as const)('a %s cancels what is queued, and no restart brings it back', async (verb) => {
    const one = stack({ begin: (faults) => faults.inject('hang', 'put') })
    await one.acme.set('dir/k', 'old')
    await until('it is uploading', () => one.cold.hanging === 1)
    await one.acme.set('dir/waiting', 'old', { ttl: '1h' })
    const done = verb === 'delete' ? Promise.all([one.acme.delete('dir/k'), one.acme.delete('dir/waiting')]) : verb === 'clear' ? one.acme.clear('dir/') : one.acme.setMany([['dir/k', 'new'], ['dir/waiting', 'new']])
    one.cold.heal()
    one.cold.release()
    await done
    await one.cache.close()
    const again = stack({ basePath: one.basePath })
    await again.cache.flush()
    const expected = verb === 'set' ? 'new' : undefined
    for (const key of ['dir/k', 'dir/waiting']) {
      expect(await again.acme.get(key, COLD)).toBe(expected)
      expect(await again.acme.get(key)).toBe(expected)
    }
  })

  test('of many sets of one key the last one is what the slow tier ends up with', async () => {
    const { cache, acme } = stack()
    for (let round = 0; round < 30; round++) void acme.set('k', round)
    await acme.set('k', 'last')
    await cache.flush()
    expect(await acme.get('k', COLD)).toBe('last')
    expect((await cache.stats()).writeBack.pending).toBe(0)
  })

  test('close uploads what is pending, and leaves the rest for the next start', async () => {
    const one = stack()
    await one.acme.setMany(Array.from({ length: 50 }, (_, at) => [`k${at}`, at] as const))
    await one.cache.close({ deadline: '10s' })
    expect(await one.coldKeys()).toHaveLength(50)
    const two = stack({ begin: (faults) => faults.inject({ fail: 'unavailable' }) })
    await two.acme.setMany(Array.from({ length: 50 }, (_, at) => [`k${at}`, at] as const))
    await two.cache.close({ deadline: '100ms' })
    expect(await two.coldKeys()).toEqual([])
    const three = stack({ basePath: two.basePath })
    expect((await three.cache.stats()).writeBack.pending).toBe(50)
    expect(await three.acme.get('k7', COLD)).toBe(7)
    expect(await three.cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await three.coldKeys()).toHaveLength(50)
  })

  test('a full journal means writing through', async () => {
    const { cache, acme, cold, coldKeys } = stack({ writeBack: { maxEntries: 2 }, begin: (faults) => faults.inject({ fail: 'failed' }, 'put') })
    await acme.setMany([['a', 1], ['b', 1]])
    expect((await cache.stats()).writeBack.pending).toBe(2)
    cold.heal()
    await acme.set('c', 1)
    expect(await coldKeys()).toContain('c')
  })

  test('a disk that takes no writes means writing through', async () => {
    const { acme, warm, coldKeys } = stack()
    warm.inject({ fail: 'storage-full' }, 'put')
    await acme.set('first', 1) // the disk fails under it: nothing but memory holds it
    await acme.set('second', 2)
    expect(await coldKeys()).toEqual(['second'])
    expect(await acme.get('first', { tiers: { hot: false } })).toBeUndefined()
  })

  test('expired entries are not uploaded', async () => {
    const { cache, acme, cold, coldKeys } = stack({ begin: (faults) => faults.inject({ fail: 'failed' }, 'put') })
    await acme.set('k', 1, { ttl: '200ms' })
    await new Promise((resolve) => setTimeout(resolve, 250))
    cold.heal()
    await cache.flush()
    expect(await coldKeys()).toEqual([])
    expect((await cache.stats()).writeBack.pending).toBe(0)
  })

  test('without a durable tier above that keeps a journal it is refused', () => {
    const make = (warm: unknown) => () =>
      new TieredCacheManager({
        tiers: { hot: { backend: new MemoryBackend() }, warm: { backend: new FileSystemBackend({ basePath: '/nowhere' }) }, cold: { backend: new FileSystemBackend({ basePath: '/nowhere/else' }) } },
        policies: { p: { tiers: { warm: warm as boolean, cold: { write: 'back' } } } },
      })
    expect(make(false)).toThrow("policies.p.tiers.cold.write: 'back' needs a durable tier above it")
    expect(make({ write: 'around' })).toThrow("policies.p.tiers.cold.write: 'back' needs a durable tier above it")
    expect(() => stack({ writeBack: { maxBytes: -1 } })).toThrow('writeBack.maxBytes must be a positive whole number')
  })

  test('one call may ask for it, and one may ask for writing through', async () => {
    const { cache, acme, coldKeys } = stack({ policies: {} })
    await acme.set('back', 1, { tiers: { cold: { write: 'back' } } })
    await acme.set('through', 1)
    await cache.flush()
    expect(await coldKeys()).toEqual(['back', 'through'])
    await expect(acme.set('x', 1, { tiers: { warm: false, cold: { write: 'back' } } })).rejects.toThrow("tiers.cold.write: 'back' needs")
  })

  test('nothing that was acknowledged is lost when the process is killed', async () => {
    const script = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'support', 'write-back-child.mjs')
    for (let round = 0; round < 3; round++) {
      const basePath = temporaryDirectory()
      const child = spawn(process.execPath, [script, basePath], { stdio: ['ignore', 'pipe', 'inherit'] })
      afterwards(() => child.kill('SIGKILL'))
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
      await until('it has stored some', () => output.split('\n').length > 40 + 60 * round)
      child.kill('SIGKILL')
      await once(child, 'close')
      const acknowledged = output.split('\n').slice(0, -1)
      const { cache, acme, coldKeys } = stack({ basePath })
      expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
      const keys = new Set(await coldKeys())
      expect(acknowledged.filter((key) => !keys.has(key))).toEqual([])
      for (const key of acknowledged.slice(-5)) expect(await acme.get(key, COLD)).toEqual({ key })
    }
  }, 60_000)
})
