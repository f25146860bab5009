import { describe, expect, test } from '@jest/globals'
import { CacheEntry, systemClock, TenantScope, validateKey, validateTenant, type BackendHost, type CacheEntry as Entry } from '@thermocline/backend'
import { ClassicLevel } from 'classic-level'
import { LevelBackend } from '../src/index.js'
import { directories } from './support/directory.js'

const newDirectory = directories()
const scope = new TenantScope(validateTenant('acme'))
const key = validateKey('k')

/** Stores an entry, changes its record `at` behind the backend's back, and reads the entry. */
async function readDamaged(at: string, damage: (record: Buffer) => Buffer): Promise<{ entry: Entry | undefined; reported: string[]; left: boolean }> {
  const path = newDirectory()
  const reported: string[] = []
  const host: BackendHost = { clock: systemClock, evicted: () => undefined, demotes: () => false, report: (error) => reported.push(error.code) }
  const createdAt = systemClock.now()
  const entry = CacheEntry.ofBytes({ codec: 'buffer', bytes: Buffer.from('payload') }, { createdAt, expiresAt: createdAt + 1000 })
  const using = async <T>(work: (backend: LevelBackend) => Promise<T>): Promise<T> => {
    const backend = new LevelBackend({ path })
    const detach = backend.attach(host)
    const result = await work(backend)
    detach()
    await backend[Symbol.asyncDispose]()
    return result
  }
  await using((backend) => backend.put(scope, key, entry, { onlyIfAbsent: false, keepUntil: entry.expiresAt }))
  const db = new ClassicLevel<string, Buffer>(path, { keyEncoding: 'utf8', valueEncoding: 'buffer' })
  await db.put(at, damage((await db.get(at)) ?? Buffer.alloc(0)))
  await db.close()
  const found = await using((backend) => backend.get(scope, key, { want: 'payload', touch: false }))
  await db.open()
  const left = (await db.get('h:acme\0k')) !== undefined
  await db.close()
  return { entry: found, reported, left }
}

describe('data that cannot be served is a miss and reported', () => {
  test('a damaged payload is removed', async () => {
    expect(await readDamaged('p:acme\0k', () => Buffer.from('pAyload'))).toEqual({ entry: undefined, reported: ['corrupt'], left: false })
  })
  test('a header that was cut is removed', async () => {
    expect(await readDamaged('h:acme\0k', (head) => head.subarray(0, 20))).toEqual({ entry: undefined, reported: ['corrupt'], left: false })
  })
  test('an unknown version is left in place', async () => {
    const newer = (head: Buffer): Buffer => Buffer.from(head).fill(9, 4, 5)
    expect(await readDamaged('h:acme\0k', newer)).toEqual({ entry: undefined, reported: ['foreign'], left: true })
  })
})
