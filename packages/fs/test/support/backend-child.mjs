/*
 * A process that uses a backend as a manager would. It runs the built packages.
 *
 *   node backend-child.mjs '{"work":"stream","basePath":"/some/where", ...}'
 */
import { StreamedEntry, systemClock, TenantScope, validateKey, validateTenant } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'

const { work, basePath, maxBytes, fsync, ...plan } = JSON.parse(process.argv[2])
const backend = new FileSystemBackend({ basePath, maxBytes, fsync })
const scope = new TenantScope(validateTenant('acme'))
const say = (line) => process.stdout.write(`${line}\n`)
const detach = backend.attach({ clock: systemClock, demotes: () => false, evicted: () => undefined, report: (error) => say(`report ${error.code} ${error.message}`) })

const works = {
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
