/*
 * A process that uses the cache as an application would. It runs the built packages: what has to exit is what is published.
 *
 *   node child.mjs '{"work":"visit","s3":{"bucket":"artifacts"}, ...}'
 */
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { crc32 } from 'node:zlib'
import { StreamedEntry, systemClock, TenantScope } from '@thermocline/backend'
import { TieredCacheManager } from '@thermocline/core'
import { S3Backend } from '@thermocline/s3'

const { work, s3, close, file, megabytes } = JSON.parse(process.argv[2])
const MIB = 1024 ** 2
const HOUR_MS = 3_600_000

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

/** The most memory the process has had, in MiB. */
function peak() {
  return process.resourceUsage().maxRSS / 1024
}

/** A backend as a manager has it. */
function attached() {
  const backend = new S3Backend(s3)
  backend.attach({ clock: systemClock, report: (error) => say({ report: error.message }), evicted: () => undefined, demotes: () => false })
  return backend
}

async function* numbered() {
  for (let i = 0; i < megabytes; i++) yield Buffer.alloc(MIB, i)
}

const works = {
  /** Uses the cache and then has nothing left to do. */
  async visit() {
    const cache = new TieredCacheManager({ tiers: { cold: { backend: new S3Backend(s3) } }, logger: false })
    const acme = cache.tenant('acme')
    await acme.set('visit', 'x')
    await acme.set('large', Buffer.alloc(5 * MIB))
    if ((await acme.get('visit')) !== 'x') throw new Error('it should be a hit')
    if (close) await cache.close()
    say({ done: Date.now() })
  },
  /** Nobody answers. */
  async alone() {
    const cache = new TieredCacheManager({ tiers: { cold: { backend: new S3Backend(s3) } }, logger: false })
    const acme = cache.tenant('acme')
    await Promise.all([acme.set('visit', 'y').catch(() => undefined), acme.getOrCompute('other', () => 1), acme.delete('third').catch(() => undefined)])
    if (close) await cache.close()
    say({ done: Date.now() })
  },
  /** Makes a backend, and asks it nothing. */
  async nothing() {
    attached()
    say({ done: Date.now(), loaded: process.moduleLoadList?.some((name) => name.includes('aws')) ?? false })
  },
  /** A large stream into the store, and from there into a file. */
  async stream() {
    const backend = attached()
    const scope = new TenantScope('acme')
    const now = Date.now()
    let crc = 0
    const payload = { codec: 'buffer', byteLength: undefined, crc32: undefined, chunks: numbered, cancel: () => undefined }
    const before = peak()
    await backend.put(scope, 'large', new StreamedEntry(payload, { createdAt: now, expiresAt: now + HOUR_MS }), { onlyIfAbsent: false, keepUntil: now + HOUR_MS })
    const written = peak()
    const entry = await backend.get(scope, 'large', { want: 'stream', touch: false })
    await pipeline(entry.payload.chunks(), createWriteStream(file))
    for await (const chunk of numbered()) crc = crc32(chunk, crc)
    say({ before, written, read: peak(), crc })
  },
}
await works[work]()
