import { randomUUID } from 'node:crypto'
import { CacheError, messageOf } from '@thermocline/backend'
import { AbsentKeys, type Place } from '@thermocline/object-store'
import type { Opened } from './connection.js'
import { abandoned, asS3Error, isForbidden, isNotFound, nameOf, statusOf } from './errors.js'
import type { CheckedOptions } from './options.js'
import type { Abortable } from './requests.js'
import type { Shared } from './shared.js'

const MOST_REMEMBERED = 10_000

/**
 * What a refused read means. A store that does not let us list a bucket does not say either that a key is absent: it answers 403.
 * And a HEAD, which has no body, cannot say that the bucket itself is missing.
 */
export class Refusals {
  readonly #shared: Shared
  /** Something has shown that the bucket exists. */
  #bucketIsThere = false
  readonly #absentKeys: AbsentKeys
  readonly #archived = new Set<string>()
  #archivesRefuse: boolean

  constructor(shared: Shared) {
    this.#shared = shared
    this.#archivesRefuse = isAmazon(shared.options)
    this.#absentKeys = new AbsentKeys(shared.hosts, () => {
      const message = `s3 answers 403 for keys that are not there, because these credentials may not list the bucket ${shared.bucket}: such answers are taken for misses, also where reading itself is forbidden; grant s3:ListBucket`
      return new CacheError('access-denied', message, { operation: 'get', backend: 's3' })
    })
  }

  /** Whether objects in archive classes cannot be read: so with Amazon, or once the store has said so. */
  get archivesRefuse(): boolean {
    return this.#archivesRefuse
  }

  /** Something was answered that only an existing bucket does. */
  noteBucket(): void {
    this.#bucketIsThere = true
  }

  /**
   * Resolves when the refused read is a miss.
   *
   * @throws CacheError when it is anything else
   */
  async expectMiss(error: unknown, opened: Opened, name: string, how: { readonly isHead: boolean; readonly abortable: Abortable }, place: Place): Promise<void> {
    if (isNotFound(error)) {
      this.#absentKeys.noteNotFound()
      if (!how.isHead) this.#bucketIsThere = true
      else if (!this.#bucketIsThere) await this.#expectBucket(opened, place)
      return
    }
    const { signal } = how.abortable
    if (signal?.aborted === true) throw abandoned(signal, place)
    if (nameOf(error) === 'InvalidObjectState') {
      this.#archivesRefuse = true
      return this.archived(name, place, error)
    }
    if (isForbidden(error) && (await this.#absentKeys.areForbidden(() => this.#areAbsentForbidden(opened, place)))) return
    throw this.failed(error, place)
  }

  failed(error: unknown, place: Place): CacheError {
    const failure = asS3Error(error, place)
    if (failure.code === 'bucket-missing') this.#bucketIsThere = false
    return failure
  }

  /** A miss, told once for each key. */
  archived(name: string, place: Place, cause?: unknown): void {
    if (this.#archived.has(name)) return
    if (this.#archived.size >= MOST_REMEMBERED) this.#archived.clear()
    this.#archived.add(name)
    const message = 'what s3 holds is a miss because it is in an archive: restore the object, or let lifecycle rules move objects only to classes that can be read at once, such as GLACIER_IR'
    this.#shared.hosts.report(new CacheError('archived', message, { ...place, backend: 's3', cause }))
  }

  async #expectBucket({ sdk, client }: Opened, place: Place): Promise<void> {
    try {
      await client.send(new sdk.HeadBucketCommand({ Bucket: this.#shared.bucket }))
    } catch (error) {
      if (statusOf(error) === 404) throw new CacheError('bucket-missing', `${place.operation} on s3 failed: there is no bucket ${this.#shared.bucket} (create it, or correct its name)`, { ...place, backend: 's3', cause: error })
      if (statusOf(error) !== 403) throw asS3Error(error, place) // a user who may not list gets a 403 here, and a 404 for a key only where the bucket exists
    }
    this.#bucketIsThere = true
  }

  /** Whether a 403 is how this store says that a key is absent. */
  async #areAbsentForbidden({ sdk, client }: Opened, place: Place): Promise<boolean> {
    const { bucket, names } = this.#shared
    try {
      await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: `${names.root}~absent/${randomUUID()}` }))
      return false
    } catch (error) {
      if (isNotFound(error)) return false
      if (!isForbidden(error)) throw asS3Error(error, place) // it says what is wrong, as the HEAD before may not have
      if (/s3:GetObject\b/.test(messageOf(error))) return false // Amazon says what is missing
    }
    try {
      await client.send(new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: names.root, MaxKeys: 1 }))
      return false
    } catch (error) {
      if (!isForbidden(error)) throw asS3Error(error, place)
    }
    return true
  }
}

/** As far as can be seen from here: a configuration file of the SDK's may name another address. */
function isAmazon({ endpoint, client }: CheckedOptions): boolean {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env
  return (endpoint ?? client ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL) === undefined
}
