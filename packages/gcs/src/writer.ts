import {
  CacheEntry,
  crc32,
  isStreamed,
  withChunks,
  type Hosts,
  type PutOptions,
  type StreamedEntry,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { contentEncodingOf, contentTypeOf, encodeObjectMetadata, isKept, recognize, type ObjectNames, type ObjectPayload } from '@thermocline/object-store'
import { abandoned, asGcsError, isRefusal } from './errors.js'
import type { ObjectApi } from './object-api.js'
import type { UploadTarget } from './send-chunks.js'
import type { Uploader } from './uploader.js'

/** The generation of an object that is not there, in conditions. */
const ABSENT = '0'
/** How often an object that comes and goes is looked at before a conditional write is given up. */
const MOST_LOOKS = 3

/** Writer entries, each as one object that is there whole or not at all. */
export class Writer {
  readonly #api: ObjectApi
  readonly #uploader: Uploader
  readonly #names: ObjectNames
  readonly #storageClass: string | undefined
  readonly #hosts: Hosts

  constructor(api: ObjectApi, uploader: Uploader, names: ObjectNames, storageClass: string | undefined, hosts: Hosts) {
    this.#api = api
    this.#uploader = uploader
    this.#names = names
    this.#storageClass = storageClass
    this.#hosts = hosts
  }

  async put(scope: TenantScope, key: ValidKey, given: CacheEntry, options: PutOptions): Promise<boolean> {
    // before all of a stream has been read the store has nothing that it could keep
    let isSent = !isStreamed(given)
    const entry = isStreamed(given)
      ? withChunks(given, async function* () {
          yield* given.payload.chunks()
          isSent = true
        })
      : given
    try {
      if (options.keepUntil <= this.#hosts.clock.now()) {
        if (isStreamed(entry)) entry.payload.cancel()
        if (options.onlyIfAbsent) return false // nothing is stored, and what is there stays
        await this.#api.remove(this.#names.of(scope, key), undefined, options.signal)
        return true
      }
      return isStreamed(entry) ? await this.#putStream(scope, key, entry, options) : await this.#putBytes(scope, key, entry, options)
    } catch (error) {
      if (isStreamed(entry)) entry.payload.cancel()
      const place = { operation: 'put', tenant: scope.tenant, key }
      if (options.signal?.aborted === true) throw abandoned(options.signal, place, isSent)
      throw asGcsError(error, place, !isStreamed(entry), isSent) // its chunks come only once
    }
  }

  async #putBytes(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const { codec, bytes } = entry.encoded ?? { codec: 'buffer', bytes: new Uint8Array() }
    const target = this.#target(scope, key, entry, options.keepUntil, { codec, byteLength: bytes.byteLength, crc32: crc32(bytes) })
    if (!options.onlyIfAbsent) {
      await this.#uploader.bytes(target, bytes, undefined, options)
      return true
    }
    let generation: string | undefined = ABSENT
    for (let looks = 0; generation !== undefined && looks < MOST_LOOKS; looks++) {
      if (await succeeds(this.#uploader.bytes(target, bytes, generation, options))) return true
      generation = await this.#replaceable(scope, key, target.name, options)
    }
    return false
  }

  /** Chunks come only once, so what is there is looked at before. */
  async #putStream(scope: TenantScope, key: ValidKey, entry: StreamedEntry, options: PutOptions): Promise<boolean> {
    const name = this.#names.of(scope, key)
    const generation = options.onlyIfAbsent ? await this.#replaceable(scope, key, name, options) : undefined
    if (options.onlyIfAbsent && generation === undefined) {
      entry.payload.cancel()
      return false
    }
    const targetOf = (payload: ObjectPayload): UploadTarget => this.#target(scope, key, entry, options.keepUntil, payload)
    const sent = this.#uploader.stream(targetOf, entry.payload, generation, options)
    if (generation === undefined) return sent.then(() => true)
    const isStored = await succeeds(sent)
    if (!isStored) entry.payload.cancel()
    return isStored
  }

  /** The generation that a conditional write may replace; `undefined`: what is there has to stay. */
  async #replaceable(scope: TenantScope, key: ValidKey, name: string, options: PutOptions): Promise<string | undefined> {
    const facts = await this.#api.look(name, options.signal)
    return facts === undefined ? ABSENT : isKept(recognize(facts, scope, key, false), this.#hosts.clock.now()) ? undefined : facts.generation
  }

  #target(scope: TenantScope, key: ValidKey, entry: CacheEntry, keepUntil: number, payload: ObjectPayload): UploadTarget {
    const contentType = contentTypeOf(key, payload.codec, entry.details)
    const contentEncoding = contentEncodingOf(payload.codec)
    const name = this.#names.of(scope, key)
    return {
      name,
      contentType,
      resource: {
        name,
        contentType,
        metadata: encodeObjectMetadata(scope, key, entry, keepUntil, payload),
        ...(contentEncoding === undefined ? {} : { contentEncoding }),
        ...(this.#storageClass === undefined ? {} : { storageClass: this.#storageClass }),
      },
    }
  }
}

/** Whether a conditional write was done; what fails otherwise rejects. */
async function succeeds(write: Promise<void>): Promise<boolean> {
  try {
    await write
    return true
  } catch (error) {
    if (isRefusal(error, 412)) return false
    throw error
  }
}
