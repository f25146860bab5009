import type { IncomingMessage } from 'node:http'
import {
  CacheEntry,
  CacheError,
  checkedChunks,
  crc32,
  decodeObjectMetadata,
  StreamedEntry,
  type EntryFields,
  type ObjectNames,
  type ObjectPayload,
  type PayloadStream,
  type ReadOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/core'
import type { AccessProbe } from './access-probe.js'
import { chunksOf, collect, CutOff, drop } from './bodies.js'
import { asGcsError, isRefusal } from './errors.js'
import { factsOfHeaders, isTranscoded, storeChecksum, type ObjectFacts, type StoreChecksum } from './facts.js'
import type { ObjectApi } from './object-api.js'

/** How often payload and metadata are asked for, where they take two requests and the object changes in between. */
const MOST_LOOKS = 3
/** What packed bytes core can unpack. */
const ENCODINGS: ReadonlySet<string> = new Set(['gzip', 'br', 'zstd'])

/** An object that can be read. */
interface Found {
  readonly facts: ObjectFacts
  readonly fields: EntryFields
  readonly payload: ObjectPayload
}

interface Opened {
  readonly response: IncomingMessage
  readonly facts: ObjectFacts
}

/** Reads entries, and decides what is none. */
export class Reads {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #probe: AccessProbe
  readonly #report: (error: CacheError) => void
  /** The server is an emulator whose downloads come without metadata: they take a request of their own, before, as one that waits for it would hold a connection. */
  #looksFirst = false

  constructor(api: ObjectApi, names: ObjectNames, probe: AccessProbe, report: (error: CacheError) => void) {
    this.#api = api
    this.#names = names
    this.#probe = probe
    this.#report = report
  }

  async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const name = this.#names.of(scope, key)
    try {
      if (options.want !== 'head') return await this.#payload(scope, key, name, options)
      const facts = await this.#api.look(name, options.signal)
      const found = facts === undefined ? undefined : this.#judge(scope, key, name, facts, options)
      return found === undefined ? undefined : CacheEntry.head(found.fields)
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason
      if (isRefusal(error, 403) && (await this.#probe.hidesMisses(options.signal))) return undefined
      throw asGcsError(error, 'get', key)
    }
  }

  async #payload(scope: TenantScope, key: ValidKey, name: string, options: ReadOptions): Promise<CacheEntry | undefined> {
    const opened = await this.#open(name, options)
    if (opened === undefined) return undefined
    const { response, facts } = opened
    let isHandedOver = false
    try {
      const found = this.#judge(scope, key, name, facts, options)
      if (found === undefined) return undefined
      if (isTranscoded(response.headers)) throw notAsStored(key)
      const checksum = found.payload.crc32 === undefined ? await storeChecksum(facts) : undefined
      if (options.want === 'stream') {
        const stream = this.#stream(key, name, found, response, checksum, options)
        isHandedOver = true
        return new StreamedEntry(stream, found.fields)
      }
      const bytes = await collect(response, options.progress)
      if (facts.byteLength !== undefined && bytes.byteLength !== facts.byteLength) throw new CutOff(`${bytes.byteLength} of ${facts.byteLength} bytes arrived`)
      checksum?.update(bytes)
      const problem = checksumProblem(bytes, found.payload) ?? (checksum?.matches() === false ? WRONG_STORE_CHECKSUM : undefined)
      if (problem !== undefined) return this.#corrupt(key, name, facts, problem)
      return CacheEntry.ofBytes({ codec: found.payload.codec, bytes }, found.fields)
    } finally {
      if (!isHandedOver) drop(response)
    }
  }

  /** The answer with the payload, and all facts of that very generation. */
  async #open(name: string, options: ReadOptions): Promise<Opened | undefined> {
    if (!this.#looksFirst) {
      const response = await this.#api.download(name, options.signal)
      if (response === undefined) return undefined
      const facts = factsOfHeaders(response.headers)
      if (facts.metadata !== undefined) return { response, facts }
      drop(response)
      this.#looksFirst = true
    }
    for (let looks = 1; looks <= MOST_LOOKS; looks++) {
      const facts = await this.#api.look(name, options.signal)
      const response = facts === undefined ? undefined : await this.#api.download(name, options.signal)
      if (facts === undefined || response === undefined) return undefined
      const { generation, contentEncoding } = factsOfHeaders(response.headers)
      if (generation === facts.generation) return { response, facts: { ...facts, contentEncoding } }
      drop(response)
    }
    throw new CacheError('unavailable', 'get on gcs found the object changed each time it looked', { operation: 'get', backend: 'gcs', retryable: true })
  }

  /** What an object is; `undefined` and a report: nothing that can be read. */
  #judge(scope: TenantScope, key: ValidKey, name: string, facts: ObjectFacts, { adopt }: ReadOptions): Found | undefined {
    const reading = decodeObjectMetadata(facts.metadata, scope, key)
    if (reading.status === 'ok') {
      const problem = facts.byteLength === undefined ? undefined : lengthProblem(facts.byteLength, reading.header.payload)
      return problem === undefined ? { facts, fields: reading.header, payload: reading.header.payload } : this.#corrupt(key, name, facts, problem)
    }
    if (reading.status === 'corrupt') return this.#corrupt(key, name, facts, reading.reason)
    const { contentEncoding } = facts
    if (reading.status === 'plain' && adopt === true && (contentEncoding === undefined || ENCODINGS.has(contentEncoding))) {
      return { facts, fields: { createdAt: facts.updatedAt, expiresAt: Number.POSITIVE_INFINITY }, payload: adopted(facts) }
    }
    const reason = reading.status === 'foreign' ? reading.reason : 'it has no metadata of ours'
    this.#report(new CacheError('foreign', `the object of this key is a miss because ${reason}; it was left in place`, { operation: 'get', backend: 'gcs', key }))
    return undefined
  }

  #stream(key: ValidKey, name: string, { facts, payload }: Found, response: IncomingMessage, checksum: StoreChecksum | undefined, options: ReadOptions): PayloadStream {
    response.socket.setTimeout(0) // until somebody reads, silence is nobody's fault
    const damaged = (problem: string): CacheError => {
      this.#corrupt(key, name, facts, problem)
      return new CacheError('corrupt', `the payload of this key is damaged: ${problem}`, { operation: 'get', backend: 'gcs', key })
    }
    const expected = { byteLength: payload.byteLength ?? facts.byteLength, crc32: payload.crc32 }
    return {
      ...expected,
      codec: payload.codec,
      chunks: async function* () {
        try {
          for await (const chunk of checkedChunks(chunksOf(response, options.progress), expected, damaged)) {
            checksum?.update(chunk)
            yield chunk
          }
        } catch (error) {
          if (options.signal?.aborted === true) throw options.signal.reason
          throw asGcsError(error, 'get', key)
        }
        if (checksum?.matches() === false) throw damaged(WRONG_STORE_CHECKSUM)
      },
      cancel: () => drop(response),
    }
  }

  /** Reports what is damaged, and removes it if nobody has replaced it. */
  #corrupt(key: ValidKey, name: string, { generation }: ObjectFacts, problem: string): undefined {
    this.#report(new CacheError('corrupt', `the object of this key is a miss because ${problem}; it was removed`, { operation: 'get', backend: 'gcs', key }))
    if (generation !== '') this.#api.remove(name, generation, undefined).catch(() => undefined) // the next read finds it again
  }
}

const WRONG_STORE_CHECKSUM = "the store's own checksum does not match"

function lengthProblem(length: number, { byteLength }: Pick<ObjectPayload, 'byteLength'>): string | undefined {
  return byteLength === undefined || byteLength === length ? undefined : `it has ${length} payload bytes instead of ${byteLength}`
}

function checksumProblem(bytes: Uint8Array, { byteLength, crc32: expected }: ObjectPayload): string | undefined {
  return lengthProblem(bytes.byteLength, { byteLength }) ?? (expected !== undefined && crc32(bytes) !== expected ? 'the checksum of its payload does not match' : undefined)
}

/** Somebody else's object, as raw bytes. */
function adopted({ contentEncoding, byteLength }: ObjectFacts): ObjectPayload {
  return { codec: contentEncoding === undefined ? 'buffer' : `buffer+${contentEncoding}`, byteLength, crc32: undefined }
}

function notAsStored(key: ValidKey): CacheError {
  return new CacheError('failed', 'get on gcs failed: something on the way packs or unpacks what is stored, although it was asked not to: look for a proxy that changes Accept-Encoding', {
    operation: 'get',
    backend: 'gcs',
    key,
  })
}
