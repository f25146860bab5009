import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { beforeEach, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import type { CacheEntry } from '@thermocline/backend'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { ScriptedBackend } from './support/scripted-backend.js'

const TEXT = 'thermocline '.repeat(1000)
/** What libuv has, unless told otherwise. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE ?? 4)
let backend: ScriptedBackend
let cache: TieredCacheManager
let stored: CacheEntry | undefined

beforeEach(() => {
  backend = new ScriptedBackend()
  stored = undefined
  backend.answer = (operation) => {
    if (operation === 'put') stored = backend.lastPut
    return Promise.resolve(operation === 'get' ? stored : true)
  }
  cache = new TieredCacheManager({ tiers: { only: { backend } }, policies: { default: { compression: 'gzip' } }, logger: false })
  afterwards(() => cache.close())
})

/** Somebody else's reads of a disk that hangs take every thread. */
function fillPool(): void {
  const fifo = path.join(temporaryDirectory(), 'fifo')
  execFileSync('mkfifo', [fifo])
  for (let n = 0; n < THREADS; n++) fs.open(fifo, 'r', (_, fd) => fs.close(fd))
  afterwards(() => fs.closeSync(fs.openSync(fifo, 'w')))
}

test('what cannot be compressed in time is stored as it is, what cannot be decompressed is a miss, and the tier is not blamed', async () => {
  const acme = cache.tenant('acme')
  await acme.set('k', TEXT)
  const compressed = stored
  expect(compressed?.encoded?.codec).toBe('utf8+gzip')
  const errors: unknown[] = []
  cache.on('error', ({ error }) => errors.push(error))
  cache.on('degraded', () => errors.push('degraded'))
  fillPool()
  const found = acme.get('k')
  await acme.set('other', TEXT)
  expect(stored?.encoded?.codec).toBe('utf8')
  expect(Buffer.from(stored!.encoded!.bytes).toString()).toBe(TEXT)
  expect(await found).toBeUndefined()
  expect(errors).toEqual([expect.objectContaining({ code: 'timeout', operation: 'decode', message: expect.stringContaining('thread pool') })])
}, 30_000)
