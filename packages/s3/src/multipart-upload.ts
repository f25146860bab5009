import type { CompletedPart } from '@aws-sdk/client-s3'
import { crc32 } from '@thermocline/backend'
import type { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'
import type { Condition, Description } from './description.js'
import { isNotFound, statusOf } from './errors.js'
import { base64Crc32 } from './store-checksum.js'

/** Parts under way at once: with the one being gathered, four times the part size is in memory. */
const PARTS_AT_ONCE = 3

export interface UploadOptions {
  readonly sendsChecksums: boolean
  /** Ends the requests under way when one of them fails, or nobody waits any more. */
  readonly cancellation: Cancellation
  readonly progress: (() => void) | undefined
}

/** Which upload requests are about. */
interface UploadId {
  readonly Bucket: string | undefined
  readonly Key: string | undefined
  readonly UploadId: string | undefined
}

/** An object that is stored in parts: it is there once all of them are and `complete` was called, and not at all after `abort`. */
export class MultipartUpload {
  readonly #opened: Opened
  readonly #object: UploadId
  readonly #options: UploadOptions
  readonly #parts: CompletedPart[] = []
  readonly #underWay = new Set<Promise<void>>()
  #byteLength = 0
  #failure: { readonly error: unknown } | undefined

  private constructor(opened: Opened, object: UploadId, options: UploadOptions) {
    this.#opened = opened
    this.#object = object
    this.#options = options
  }

  /** Not ended by a signal: an upload that has begun without our knowing its id could not be removed. */
  static async begin(opened: Opened, description: Description, options: UploadOptions): Promise<MultipartUpload> {
    const { sdk, client } = opened
    const checksum = options.sendsChecksums ? ({ ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const) : {}
    const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand({ ...description, ...checksum }))
    return new MultipartUpload(opened, { Bucket: description.Bucket, Key: description.Key, UploadId }, options)
  }

  /** Resolves when the next part may come. @param done called when the bytes are not needed any more */
  async add(bytes: Buffer, done: (bytes: Buffer) => void): Promise<void> {
    while (this.#underWay.size >= PARTS_AT_ONCE) await Promise.race(this.#underWay)
    this.#expectNoFailure()
    this.#byteLength += bytes.byteLength
    const place = this.#parts.length
    this.#parts.push({ PartNumber: place + 1 })
    const sending = this.#send(bytes, place)
      .then(() => done(bytes))
      .catch((error: unknown) => {
        this.#failure ??= { error }
        this.#options.cancellation.cancel(error)
      })
      .finally(() => this.#underWay.delete(sending))
    this.#underWay.add(sending)
  }

  /** Resolves when all parts are there. */
  async uploaded(): Promise<void> {
    await Promise.all(this.#underWay)
    this.#expectNoFailure()
  }

  /**
   * Makes the parts one object. Not ended by a signal either: whether it has happened would not be known.
   *
   * @param crc of the whole
   */
  async complete(crc: number, condition: Condition): Promise<void> {
    const { sdk, client } = this.#opened
    const checksum = this.#options.sendsChecksums ? ({ ChecksumCRC32: base64Crc32(crc), ChecksumType: 'FULL_OBJECT', MpuObjectSize: this.#byteLength } as const) : {}
    const input = { ...this.#object, MultipartUpload: { Parts: this.#parts }, ...checksum }
    try {
      await client.send(new sdk.CompleteMultipartUploadCommand({ ...input, ...condition }))
    } catch (error) {
      if (condition === undefined || statusOf(error) !== 501) throw error
      await client.send(new sdk.CompleteMultipartUploadCommand(input)) // the store does not know conditions here
    }
  }

  /** Removes what has been uploaded. Never rejects. */
  async abort(onFailure: (cause: unknown) => void): Promise<void> {
    await Promise.all(this.#underWay) // a part that arrived afterwards would stay
    const { sdk, client } = this.#opened
    const send = (): Promise<unknown> => client.send(new sdk.AbortMultipartUploadCommand(this.#object))
    try {
      await send().catch(send)
    } catch (error) {
      if (!isNotFound(error)) onFailure(error)
    }
  }

  async #send(bytes: Buffer, place: number): Promise<void> {
    const { sdk, client } = this.#opened
    const { sendsChecksums, cancellation, progress } = this.#options
    const part = { PartNumber: place + 1, ...(sendsChecksums ? { ChecksumCRC32: base64Crc32(crc32(bytes)) } : {}) }
    const { ETag } = await client.send(new sdk.UploadPartCommand({ ...this.#object, ...part, Body: bytes, ContentLength: bytes.byteLength }), cancellation)
    this.#parts[place] = { ...part, ETag }
    progress?.()
  }

  #expectNoFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
    this.#options.cancellation.signal.throwIfAborted()
  }
}
