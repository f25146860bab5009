import { crc32, isPromise, isStreamed, type CacheEntry, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { Place } from '@thermocline/object-store'
import type { Opened } from './connection.js'
import { sendStream } from './send-stream.js'
import { describe, type Condition, type Description } from './description.js'
import { abandoned, isNotFound, isPreconditionFailed, statusOf } from './errors.js'
import type { Reads } from './reads.js'
import type { Shared } from './shared.js'
import { base64Crc32 } from './store-checksum.js'
import { StreamWrites } from './stream-writes.js'

/** From this size on a payload goes in slices, so that it can be told that something is happening. */
const SLICED_BYTES = 4 * 1024 ** 2
const SLICE_BYTES = 256 * 1024

/** A put of bytes. */
interface BytesPut {
  readonly opened: Opened
  readonly description: Description
  readonly bytes: Uint8Array
  readonly checksum: string | undefined
  readonly options: PutOptions
  readonly place: Place
}

/** Writes entries: one PUT each, and a HEAD more where something is in the way of `onlyIfAbsent`. */
export class Writes {
  readonly #shared: Shared
  readonly #reads: Reads
  readonly #remove: (scope: TenantScope, key: ValidKey, options: OperationOptions) => Promise<void>
  readonly #streams: StreamWrites
  /** Whether the store knows the condition that nothing is there. One that does not says so with a 501. */
  #knowsIfNoneMatch = true
  /** Whether it knows the condition that it is still the same object; `undefined`: not tried yet. Amazon does; Ceph 16 always says no. */
  #knowsIfMatch: boolean | undefined

  constructor(shared: Shared, reads: Reads, remove: (scope: TenantScope, key: ValidKey, options: OperationOptions) => Promise<void>) {
    this.#shared = shared
    this.#reads = reads
    this.#remove = remove
    this.#streams = new StreamWrites(shared, reads, () => this.#knowsIfMatch === true)
  }

  async put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    if (options.keepUntil <= this.#shared.hosts.clock.now()) {
      if (isStreamed(entry)) entry.payload.cancel()
      if (options.onlyIfAbsent) return false // nothing is stored, and what is there stays
      await this.#remove(scope, key, options)
      return true
    }
    if (isStreamed(entry)) return this.#streams.put(scope, key, entry, options)
    const { codec, bytes } = entry.encoded ?? { codec: 'buffer', bytes: new Uint8Array() } // guaranteed to be there
    const crc = crc32(bytes)
    const name = this.#shared.names.of(scope, key)
    const description = describe(this.#shared.options, name, scope, key, entry, options.keepUntil, { codec, byteLength: bytes.byteLength, crc32: crc })
    const opening = this.#shared.connection.open('put')
    const opened = isPromise(opening) ? await opening : opening
    const checksum = this.#shared.options.sendsChecksums ? base64Crc32(crc) : undefined
    const put: BytesPut = { opened, description, bytes, checksum, options, place: { operation: 'put', tenant: scope.tenant, key } }
    try {
      if (options.onlyIfAbsent) return await this.#putIfAbsent(put, scope, key, name)
      await this.#send(put, undefined)
      return true
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, put.place, true)
      throw this.#reads.refusals.failed(error, put.place)
    }
  }

  async #putIfAbsent(put: BytesPut, scope: TenantScope, key: ValidKey, name: string): Promise<boolean> {
    const isCheap = put.bytes.byteLength < SLICED_BYTES // a large payload is not sent to be refused
    if (isCheap && this.#knowsIfNoneMatch && (await this.#sendIf(put, { IfNoneMatch: '*' }))) return true
    const there = await this.#reads.presence(put.opened, scope, key, name, put.options)
    if (there.status === 'kept') return false
    if (there.status === 'over') return this.#replace(put, scope, key, name, there.etag)
    // it went between the two requests, or the store does not know the condition
    if (this.#knowsIfNoneMatch) return this.#sendIf(put, { IfNoneMatch: '*' })
    await this.#send(put, undefined)
    return true
  }

  /** Puts over what is over, and only over that where the store can tell; where it cannot, another writer's entry of just now may be lost. */
  async #replace(put: BytesPut, scope: TenantScope, key: ValidKey, name: string, etag: string | undefined): Promise<boolean> {
    if (this.#knowsIfMatch !== false && etag !== undefined) {
      if (await this.#sendIf(put, { IfMatch: etag })) return (this.#knowsIfMatch = true)
      if (this.#knowsIfMatch === true) return false
      const still = await this.#reads.presence(put.opened, scope, key, name, put.options)
      if (still.status === 'kept') return false
      if (still.status === 'absent') return this.#sendIf(put, { IfNoneMatch: '*' })
      if (still.etag !== etag) return false
      this.#knowsIfMatch = false
    }
    await this.#send(put, undefined)
    return true
  }

  /** False when the condition does not hold, or the store does not know it. */
  async #sendIf(put: BytesPut, condition: NonNullable<Condition>): Promise<boolean> {
    try {
      await this.#send(put, condition)
      return true
    } catch (error) {
      const status = statusOf(error)
      if (isPreconditionFailed(error) || ('IfMatch' in condition && isNotFound(error))) return false
      if (status !== 501) throw error
      if ('IfMatch' in condition) this.#knowsIfMatch = undefined
      else this.#knowsIfNoneMatch = false
      return false
    }
  }

  async #send({ opened: { sdk, client }, description, bytes, checksum, options }: BytesPut, condition: Condition): Promise<void> {
    const input = { ...description, ContentLength: bytes.byteLength, ChecksumCRC32: checksum, ...condition }
    if (bytes.byteLength < SLICED_BYTES) await client.send(new sdk.PutObjectCommand({ ...input, Body: bytes }), options)
    else await sendStream({ sdk, client }, input, slices(bytes, options.progress), options.signal)
    this.#reads.refusals.noteBucket()
  }
}

function* slices(bytes: Uint8Array, progress: (() => void) | undefined): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += SLICE_BYTES) {
    yield bytes.subarray(at, at + SLICE_BYTES)
    progress?.()
  }
}
