import type { Readable } from 'node:stream'
import { CacheEntry, CacheError, isPromise, StreamedEntry, type EpochMs, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { isKept, ObjectStream, recognize, type ObjectPayload, type Place, type Recognized } from '@thermocline/object-store'
import { collect, discard, received } from './bodies.js'
import type { Opened } from './connection.js'
import { abandoned, asS3Error } from './errors.js'
import { isArchived, objectOf, type Found } from './found.js'
import { Refusals } from './refusals.js'
import { removeIfSame } from './remove-if-same.js'
import type { Abortable } from './requests.js'
import type { Shared } from './shared.js'
import { matches, storeChecksum, type Protection } from './store-checksum.js'

/** What lies in an entry's place, as a writer sees it who may only write where nothing is. */
export type Presence = { readonly status: 'absent' } | { readonly status: 'kept' } | { readonly status: 'over'; readonly etag: string | undefined }

/** An object that was asked for. */
export interface Asked {
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly name: string
  readonly place: Place
}

/** Reads entries: one GET or one HEAD each. */
export class Reads {
  readonly refusals: Refusals
  readonly #shared: Shared

  constructor(shared: Shared) {
    this.#shared = shared
    this.refusals = new Refusals(shared)
  }

  async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const asked = { scope, key, name: this.#shared.names.of(scope, key), place: { operation: 'get', tenant: scope.tenant, key } }
    const opening = this.#shared.connection.open('get')
    const opened = isPromise(opening) ? await opening : opening
    return options.want === 'head' ? this.#head(opened, asked, options) : this.#read(opened, asked, options)
  }

  /** What a HEAD finds; `undefined`: nothing. */
  async look(opened: Opened, name: string, abortable: Abortable, place: Place): Promise<Found | undefined> {
    const { sdk, client } = opened
    try {
      const found = await client.send(new sdk.HeadObjectCommand({ Bucket: this.#shared.bucket, Key: name }), abortable)
      this.refusals.noteBucket()
      return found
    } catch (error) {
      await this.refusals.expectMiss(error, opened, name, { isHead: true, abortable }, place)
      return undefined
    }
  }

  /** What lies in the place of an entry. What is damaged counts as over. */
  async presence(opened: Opened, scope: TenantScope, key: ValidKey, name: string, abortable: Abortable): Promise<Presence> {
    const found = await this.look(opened, name, abortable, { operation: 'put', tenant: scope.tenant, key })
    if (found === undefined) return { status: 'absent' }
    return isKept(recognize(objectOf(found), scope, key, false), this.#shared.hosts.clock.now()) ? { status: 'kept' } : { status: 'over', etag: found.ETag }
  }

  /** From when on an object of the tenant is not served; `undefined` when it is nothing that could be. */
  async endOf(opened: Opened, { scope, key, name, place }: Asked, abortable: Abortable, adopt: boolean): Promise<EpochMs | undefined> {
    const found = await this.look(opened, name, abortable, place)
    if (found === undefined) return undefined
    const recognized = recognize(objectOf(found), scope, key, adopt)
    return recognized.status === 'ok' ? recognized.header.keepUntil : undefined
  }

  async #head(opened: Opened, asked: Asked, options: ReadOptions): Promise<CacheEntry | undefined> {
    const found = await this.look(opened, asked.name, options, asked.place)
    if (found === undefined) return undefined
    if (this.refusals.archivesRefuse && isArchived(found)) {
      this.refusals.archived(asked.name, asked.place)
      return undefined
    }
    const recognized = recognize(objectOf(found), asked.scope, asked.key, options.adopt === true)
    return recognized.status === 'ok' ? CacheEntry.head(recognized.header) : this.#refused(opened, asked, found, recognized)
  }

  async #read(opened: Opened, asked: Asked, options: ReadOptions): Promise<CacheEntry | undefined> {
    const { sdk, client } = opened
    const { scope, key, name, place } = asked
    let found
    try {
      found = await client.send(new sdk.GetObjectCommand({ Bucket: this.#shared.bucket, Key: name }), options)
    } catch (error) {
      await this.refusals.expectMiss(error, opened, name, { isHead: false, abortable: options }, place)
      return undefined
    }
    this.refusals.noteBucket()
    options.progress?.()
    const body = found.Body as Readable | undefined
    const recognized = recognize(objectOf(found), scope, key, options.adopt === true)
    if (recognized.status !== 'ok' || body === undefined) {
      discard(body, found.ContentLength)
      return recognized.status === 'ok' ? undefined : this.#refused(opened, asked, found, recognized)
    }
    const { header, isOurs } = recognized
    const { codec, crc32, plainBytes } = header.payload
    try {
      const protection: Protection = crc32 !== undefined ? { crc32 } : isOurs ? await storeChecksum(opened, this.#shared.bucket, name, found, options) : {}
      if (options.want === 'stream') return new StreamedEntry(this.#stream(opened, asked, found, body, header.payload, protection, options), header)
      const bytes = await collect(body, found.ContentLength, options.progress, place)
      if (matches(protection, bytes)) return CacheEntry.ofBytes({ codec, bytes, plainBytes }, header)
    } catch (error) {
      body.destroy()
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      throw this.refusals.failed(error, place)
    }
    return this.#refused(opened, asked, found, { status: 'corrupt', reason: 'the checksum of its payload does not match' })
  }

  #stream(opened: Opened, asked: Asked, found: Found, body: Readable, { codec, byteLength }: ObjectPayload, { crc32, checksum }: Protection, { signal, progress }: ReadOptions): ObjectStream {
    const { place } = asked
    body.on('error', ignore) // while nobody reads, nobody else is told
    return new ObjectStream({
      backend: 's3',
      place,
      codec,
      byteLength: byteLength ?? found.ContentLength,
      crc32,
      checksum,
      signal,
      body: received(body, found.ContentLength, progress, place),
      drop: () => body.destroy(),
      failed: (error) => asS3Error(error, place),
      onDamage: (reason) => this.#damaged(opened, asked, found, reason),
    })
  }

  #refused(opened: Opened, asked: Asked, found: Found, { status, reason }: Exclude<Recognized, { readonly status: 'ok' }>): undefined {
    if (status === 'corrupt') this.#damaged(opened, asked, found, reason)
    else this.#shared.hosts.report(new CacheError('foreign', `what s3 holds is a miss because ${reason}; it was left in place`, { ...asked.place, backend: 's3' }))
  }

  /** Reports what is damaged, and removes it in the background if nobody has replaced it. */
  #damaged(opened: Opened, { name, place }: Asked, found: Found, reason: string): CacheError {
    void removeIfSame(opened, this.#shared.bucket, name, found)
    const error = new CacheError('corrupt', `what s3 holds is a miss because ${reason}; it was removed`, { ...place, backend: 's3' })
    this.#shared.hosts.report(error)
    return error
  }
}

function ignore(): void {
  // whoever reads is told by the iterator
}
