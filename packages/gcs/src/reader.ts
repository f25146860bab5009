import type { IncomingMessage } from 'node:http'
import { CacheEntry, CacheError, crc32, StreamedEntry, type Hosts, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { ObjectStream, recognize, type ObjectNames, type ObjectPayload, type Place, type Recognized, type StoreChecksum } from '@thermocline/object-store'
import { awaitBody, chunksOf, collect, CutOff, drop } from './body.js'
import { abandoned, asGcsError, isRefusal } from './errors.js'
import { factsOfHeaders, isTranscoded, type ObjectFacts } from './facts.js'
import type { ObjectApi } from './object-api.js'
import type { Refusals } from './refusals.js'
import { storeChecksum } from './store-checksum.js'

/** How often payload and metadata are asked for, where they take two requests and the object changes in between. */
const MOST_LOOKS = 3

/** An object that was asked for. */
interface Asked {
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly name: string
  readonly place: Place
}

interface Download {
  readonly response: IncomingMessage
  readonly facts: ObjectFacts
}

/** Reads entries: one request each. */
export class Reader {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #refusals: Refusals
  readonly #hosts: Hosts
  /** The server is an emulator whose downloads come without metadata: that takes a request of its own, and before, as one that waits for it would hold a connection. */
  #looksFirst = false

  constructor(api: ObjectApi, names: ObjectNames, refusals: Refusals, hosts: Hosts) {
    this.#api = api
    this.#names = names
    this.#refusals = refusals
    this.#hosts = hosts
  }

  async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const asked = { scope, key, name: this.#names.of(scope, key), place: { operation: 'get', tenant: scope.tenant, key } }
    try {
      return await (options.want === 'head' ? this.#head(asked, options) : this.#read(asked, options))
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, asked.place)
      if (isRefusal(error, 403) && (await this.#refusals.isMiss())) return undefined
      throw asGcsError(error, asked.place)
    }
  }

  async #head(asked: Asked, options: ReadOptions): Promise<CacheEntry | undefined> {
    const facts = await this.#api.look(asked.name, options.signal)
    if (facts === undefined) return this.#absent()
    const recognized = recognize(facts, asked.scope, asked.key, options.adopt === true)
    return recognized.status === 'ok' ? CacheEntry.head(recognized.header) : this.#refused(asked, facts, recognized)
  }

  async #read(asked: Asked, options: ReadOptions): Promise<CacheEntry | undefined> {
    const download = await this.#download(asked.name, options)
    if (download === undefined) return this.#absent()
    let entry: CacheEntry | undefined
    try {
      entry = await this.#entryOf(download, asked, options)
      return entry
    } finally {
      if (options.want !== 'stream' || entry === undefined) drop(download.response)
    }
  }

  async #entryOf({ response, facts }: Download, asked: Asked, options: ReadOptions): Promise<CacheEntry | undefined> {
    options.progress?.()
    const recognized = recognize(facts, asked.scope, asked.key, options.adopt === true)
    if (recognized.status !== 'ok') return this.#refused(asked, facts, recognized)
    if (isTranscoded(response.headers)) throw notAsStored(asked.place)
    const { header } = recognized
    const { payload } = header
    const checksum = payload.crc32 === undefined ? await storeChecksum(facts) : undefined
    if (options.want === 'stream') {
      awaitBody(response, false) // until somebody reads, silence is nobody's fault
      return new StreamedEntry(this.#stream(response, facts, payload, checksum, asked, options), header)
    }
    const bytes = await collect(response, options.progress)
    if (facts.byteLength !== undefined && bytes.byteLength !== facts.byteLength) throw new CutOff(`${bytes.byteLength} of ${facts.byteLength} bytes arrived`)
    checksum?.update(bytes)
    const isSound = payload.crc32 === undefined ? checksum?.matches() !== false : crc32(bytes) === payload.crc32
    if (isSound) return CacheEntry.ofBytes({ codec: payload.codec, bytes, plainBytes: payload.plainBytes }, header)
    return this.#refused(asked, facts, { status: 'corrupt', reason: 'the checksum of its payload does not match' })
  }

  #stream(response: IncomingMessage, facts: ObjectFacts, payload: ObjectPayload, checksum: StoreChecksum | undefined, asked: Asked, { signal, progress }: ReadOptions): ObjectStream {
    const { place } = asked
    return new ObjectStream({
      backend: 'gcs',
      place,
      codec: payload.codec,
      byteLength: payload.byteLength ?? facts.byteLength,
      crc32: payload.crc32,
      checksum,
      signal,
      body: chunksOf(response, progress),
      drop: () => drop(response),
      failed: (error) => asGcsError(error, place),
      onDamage: (reason) => this.#damaged(asked, facts, reason),
    })
  }

  /** The answer with the payload, and all facts of that very generation. */
  async #download(name: string, { signal }: ReadOptions): Promise<Download | undefined> {
    if (!this.#looksFirst) {
      const response = await this.#api.download(name, signal)
      if (response === undefined) return undefined
      const facts = factsOfHeaders(response.headers)
      if (facts.metadata !== undefined) return { response, facts }
      drop(response)
      this.#looksFirst = true
    }
    for (let looks = 1; looks <= MOST_LOOKS; looks++) {
      const facts = await this.#api.look(name, signal)
      const response = facts === undefined ? undefined : await this.#api.download(name, signal)
      if (facts === undefined || response === undefined) return undefined
      const { generation, contentEncoding } = factsOfHeaders(response.headers)
      if (generation === facts.generation) return { response, facts: { ...facts, contentEncoding } }
      drop(response)
    }
    throw new CacheError('unavailable', 'get on gcs found the object changed each time it looked', { operation: 'get', backend: 'gcs', retryable: true })
  }

  #absent(): undefined {
    this.#refusals.noteNotFound()
  }

  #refused(asked: Asked, facts: ObjectFacts, { status, reason }: Exclude<Recognized, { readonly status: 'ok' }>): undefined {
    if (status === 'corrupt') this.#damaged(asked, facts, reason)
    else this.#hosts.report(new CacheError('foreign', `what gcs holds is a miss because ${reason}; it was left in place`, { ...asked.place, backend: 'gcs' }))
  }

  /** Removes what is damaged, in the background and only if it is still the same, and says so. */
  #damaged({ name, place }: Asked, { generation }: ObjectFacts, reason: string): CacheError {
    if (generation !== '') this.#api.remove(name, generation, undefined).catch(() => undefined) // the next read finds it again
    const error = new CacheError('corrupt', `what gcs holds is a miss because ${reason}; it was removed`, { ...place, backend: 'gcs' })
    this.#hosts.report(error)
    return error
  }
}

function notAsStored(place: Place): CacheError {
  const message = 'get on gcs failed: something on the way unpacks or packs what is stored, although it was asked not to: look for a proxy that changes Accept-Encoding'
  return new CacheError('failed', message, { ...place, backend: 'gcs' })
}
