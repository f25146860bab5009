/*
 * A process that uses a backend as a manager would. It runs the built packages.
 *
 *   node backend-child.mjs '{"work":"stream","basePath":"/some/where", ...}'
 */
import { CacheEntry, NO_VALUE, StreamedEntry, systemClock, TenantScope, validateKey, validateTenant } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { wholeValue } from './values.mjs'

const { work, basePath, maxBytes, fsync, ...plan } = JSON.parse(process.argv[2])
const backend = new FileSystemBackend({ basePath, maxBytes, fsync })
const scope = new TenantScope(validateTenant('acme'))
const say = (line) => process.stdout.write(`${line}\n`)
const detach = backend.attach({ clock: systemClock, demotes: () => false, evicted: () => undefined, report: (error) => say(`report ${error.code} ${error.message}`) })

async function* inPieces(bytes) {
  for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001)
}

const works = {
  /** Takes up what others left, and says which; with `stay` it then waits to be killed. */
  async load() {
    const journal = backend.openJournal({ directory: plan.directory, maxBytes: 1e12, maxEntries: 1e6 })
    say(`loaded ${JSON.stringify(journal.load().map(({ key }) => key))}`)
    if (plan.stay) await new Promise((resolve) => setTimeout(resolve, 60_000))
  },
  /** Writes entries with copies in the journal, in every way there is, and takes some away; says what is acknowledged. */
  async journal() {
    const journal = backend.openJournal({ directory: plan.directory, maxBytes: 1e12, maxEntries: 1e6 })
    say(`loaded ${JSON.stringify(journal.load().map(({ key }) => key))}`)
    say('ready')
    for (let n = plan.first; n < plan.first + (plan.count ?? Infinity); n++) {
      const bytes = wholeValue(n)
      const key = validateKey(`key-${n}`)
      const fields = { createdAt: Date.now(), expiresAt: Date.now() + 3_600_000 }
      const whole = new CacheEntry(NO_VALUE, { codec: 'buffer', bytes }, fields)
      const slot = journal.reserve({ tier: 'cold', tenant: 'acme', key, expiresAt: fields.expiresAt, bytes: bytes.length })
      const options = { onlyIfAbsent: n % 5 === 4, keepUntil: fields.expiresAt, journal: slot }
      if (n % 3 === 0) await journal.store(slot, scope, whole)
      else if (n % 3 === 1) await backend.put(scope, key, whole, options)
      else await backend.put(scope, key, new StreamedEntry({ codec: 'buffer', byteLength: undefined, crc32: undefined, chunks: () => inPieces(bytes), cancel: () => undefined }, fields), options)
      say(`stored ${n}`)
      if (n % 4 !== 0) continue
      say(`removing ${n}`)
      await journal.remove(slot)
      say(`removed ${n}`)
    }
    if (plan.stay) await new Promise((resolve) => setTimeout(resolve, 60_000))
  },
  /** Streams so many bytes in and out, and tells how much memory that took at most. */
  async stream() {
    const chunk = Buffer.alloc(plan.chunk, 7)
    async function* source() {
      for (let left = plan.bytes; left > 0; left -= chunk.length) yield Buffer.from(chunk.subarray(0, left))
    }
    const payload = { codec: 'buffer', byteLength: plan.known ? plan.bytes : undefined, crc32: undefined, chunks: source, cancel: () => undefined }
    const expiresAt = Date.now() + 3_600_000
    let most = 0
    const before = process.memoryUsage.rss()
    const look = () => (most = Math.max(most, process.memoryUsage.rss() - before))
    const stored = await backend.put(scope, validateKey('large'), new StreamedEntry(payload, { createdAt: Date.now(), expiresAt }), { onlyIfAbsent: false, keepUntil: expiresAt, progress: look })
    const written = most
    most = 0
    let read = 0
    const entry = await backend.get(scope, validateKey('large'), { want: 'stream', touch: false })
    for await (const piece of entry.payload.chunks()) {
      read += piece.length
      look()
    }
    say(JSON.stringify({ stored, read, written, most }))
  },
}
await works[work]()
detach()
await backend[Symbol.asyncDispose]()
