import {
  CacheError,
  crc32,
  isPromise,
  withChunks,
  type EpochMs,
  type PutOptions,
  type StreamedEntry,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { sourceChunks, type ObjectPayload, type Place } from '@thermocline/object-store'
import { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'
import { describe, type Condition, type Description } from './description.js'
import { abandoned, isPreconditionFailed } from './errors.js'
import { MultipartUpload } from './multipart-upload.js'
import { PartBuffers } from './part-buffers.js'
import type { Reads } from './reads.js'
import { sendStream } from './send-stream.js'
import type { Shared } from './shared.js'
import { base64Crc32 } from './store-checksum.js'

/** Up to this size a payload that is known beforehand is one request, above it parts: several at once, and none begins anew because another failed. */
const ONE_REQUEST_BYTES = 64 * 1024 ** 2

/** A put of a stream. */
interface StreamPut {
  readonly opened: Opened
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly name: string
  readonly entry: StreamedEntry
  readonly options: PutOptions
  readonly place: Place
}

/**
 * Writes entries whose payload is a stream. Nothing is to be seen before the stream has ended, and nothing is left when it fails.
 *
 * A stream can be read once, so no failure is retryable, and the stream is given up with the first one.
 */
export class StreamWrites {
  readonly #shared: Shared
  readonly #reads: Reads
  readonly #knowsIfMatch: () => boolean

  constructor(shared: Shared, reads: Reads, knowsIfMatch: () => boolean) {
    this.#shared = shared
    this.#reads = reads
    this.#knowsIfMatch = knowsIfMatch
  }

  async put(scope: TenantScope, key: ValidKey, entry: StreamedEntry, options: PutOptions): Promise<boolean> {
    const place = { operation: 'put', tenant: scope.tenant, key }
    const source = noted(entry)
    const { payload } = source.entry
    try {
      options.signal?.throwIfAborted()
      const opening = this.#shared.connection.open('put')
      const opened = isPromise(opening) ? await opening : opening
      const put: StreamPut = { opened, scope, key, name: this.#shared.names.of(scope, key), entry: source.entry, options, place }
      const condition = options.onlyIfAbsent ? await this.#conditionFor(put) : undefined
      if (condition === 'kept') {
        payload.cancel()
        return false
      }
      const isKnown = payload.byteLength !== undefined && payload.crc32 !== undefined
      const fits = isKnown && payload.byteLength > PartBuffers.leastBytes && payload.byteLength <= ONE_REQUEST_BYTES
      await (fits ? this.#putInOne(put, condition) : this.#putInParts(put, condition))
      this.#reads.refusals.noteBucket()
      return true
    } catch (error) {
      payload.cancel()
      if (options.signal?.aborted === true) throw abandoned(options.signal, place, source.hasEnded())
      if (options.onlyIfAbsent && isPreconditionFailed(error)) return false // somebody else was first
      throw asFinal(this.#reads.refusals.failed(error, place), source.hasEnded())
    }
  }

  /** Under which condition the object may be stored; `kept`: not at all. A stream cannot be sent twice, so the store is asked first. */
  async #conditionFor({ opened, scope, key, name, options }: StreamPut): Promise<Condition | 'kept'> {
    const there = await this.#reads.presence(opened, scope, key, name, options)
    if (there.status === 'kept') return 'kept'
    if (there.status === 'absent') return { IfNoneMatch: '*' }
    return this.#knowsIfMatch() && there.etag !== undefined ? { IfMatch: there.etag } : undefined
  }

  async #putInOne(put: StreamPut, condition: Condition): Promise<void> {
    const { opened, entry, options } = put
    const { payload } = entry
    const input = { ...this.#description(put, payload), ContentLength: payload.byteLength, ChecksumCRC32: this.#checksum(payload.crc32), ...condition }
    await sendStream(opened, input, heldBack(chunksOf(put), options.progress), options.signal)
  }

  async #putInParts(put: StreamPut, condition: Condition): Promise<void> {
    const { opened, entry, options, name } = put
    const { payload } = entry
    const cancellation = new Cancellation(options.signal)
    const parts = new PartBuffers(payload.byteLength)
    let upload: MultipartUpload | undefined
    let crc = 0
    try {
      for await (const chunk of untilCancelled(chunksOf(put), cancellation)) {
        options.progress?.()
        crc = crc32(chunk, crc)
        for (let at = 0; at < chunk.byteLength; ) {
          at += parts.take(chunk, at)
          if (!parts.isFull || (at === chunk.byteLength && parts.isWhole)) continue
          upload ??= await MultipartUpload.begin(opened, this.#description(put, payload), { sendsChecksums: this.#shared.options.sendsChecksums, cancellation, progress: options.progress })
          await upload.add(parts.next(), (buffer) => parts.giveBack(buffer))
        }
      }
      if (upload === undefined) return await this.#putGathered(put, parts.next(), crc, condition, cancellation)
      if (parts.length > 0) await upload.add(parts.next(), (buffer) => parts.giveBack(buffer))
      await upload.uploaded()
      if (options.onlyIfAbsent && (await this.#isTakenMeanwhile(put))) throw new TakenMeanwhile()
      await upload.complete(crc, condition)
    } catch (error) {
      cancellation.cancel(error)
      await upload?.abort((cause) => this.#tellLeftOver(name, put.place, cause))
      throw error
    } finally {
      cancellation.end()
    }
  }

  /** All of it has turned out to fit into one part: then everything is known, and one request will do. */
  async #putGathered(put: StreamPut, bytes: Uint8Array, crc: number, condition: Condition, cancellation: Cancellation): Promise<void> {
    const { sdk, client } = put.opened
    const description = this.#description(put, { codec: put.entry.payload.codec, byteLength: bytes.byteLength, crc32: crc })
    await client.send(new sdk.PutObjectCommand({ ...description, Body: bytes, ContentLength: bytes.byteLength, ChecksumCRC32: this.#checksum(crc), ...condition }), cancellation)
  }

  /** A store that does not know the condition when parts are put together is asked just before. */
  async #isTakenMeanwhile({ opened, scope, key, name, options }: StreamPut): Promise<boolean> {
    return (await this.#reads.presence(opened, scope, key, name, options)).status === 'kept'
  }

  #description({ name, scope, key, entry, options }: StreamPut, payload: ObjectPayload): Description {
    const keepUntil: EpochMs = options.keepUntil
    return describe(this.#shared.options, name, scope, key, entry, keepUntil, payload)
  }

  #checksum(crc: number | undefined): string | undefined {
    return crc === undefined || !this.#shared.options.sendsChecksums ? undefined : base64Crc32(crc)
  }

  #tellLeftOver(name: string, place: Place, cause: unknown): void {
    const message = `an upload of parts to ${name} was given up and could not be removed: a lifecycle rule for incomplete multipart uploads removes it`
    this.#shared.hosts.report(new CacheError('failed', message, { ...place, backend: 's3', cause }))
  }
}

function chunksOf({ entry, place }: StreamPut): AsyncIterable<Uint8Array> {
  return sourceChunks(entry.payload, { ...place, backend: 's3' })
}

/** Another writer has stored an entry while the parts were on their way. Looks like the store's own refusal. */
class TakenMeanwhile extends Error {
  readonly $metadata = { httpStatusCode: 412 }
}

/** Each chunk one later, so that the last is sent only after the stream has ended well. */
async function* heldBack(chunks: AsyncIterable<Uint8Array>, progress: (() => void) | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    progress?.()
    if (chunk.byteLength === 0) continue
    if (held !== undefined) yield held
    held = chunk
  }
  if (held !== undefined) yield held
}

/** Stops waiting for the next chunk when nobody wants it any more. */
async function* untilCancelled(chunks: AsyncIterable<Uint8Array>, { signal }: Cancellation): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = chunks[Symbol.asyncIterator]()
  let stop: (reason: unknown) => void = () => undefined
  const onAbort = (): void => stop(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  let isAtEnd = false
  try {
    for (;;) {
      signal.throwIfAborted()
      const step = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = reject
        iterator.next().then(resolve, reject)
      })
      if (step.done === true) {
        isAtEnd = true
        return
      }
      yield step.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    if (!isAtEnd) void iterator.return?.().then(undefined, () => undefined) // one that hangs would wait behind its own next()
  }
}

/** The entry, and whether all of its payload has been read: before that the store has nothing that it could keep. */
function noted(given: StreamedEntry): { readonly entry: StreamedEntry; readonly hasEnded: () => boolean } {
  let ended = false
  const entry = withChunks(given, async function* () {
    yield* given.payload.chunks()
    ended = true
  })
  return { entry, hasEnded: () => ended }
}

/** The same failure, not to be tried again. */
function asFinal(error: CacheError, isSent: boolean): CacheError {
  const { code, message, operation, backend, tenant, key, cause, landsWithinMs } = error
  return new CacheError(code, message, { operation, backend, tenant, key, cause, landsWithinMs: isSent ? landsWithinMs : undefined })
}
