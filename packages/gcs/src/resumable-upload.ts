import { createHash } from 'node:crypto'
import { CacheError, type ExpectedPayload, type OperationOptions } from '@thermocline/backend'
import { drop } from './body.js'
import type { Resource } from './facts.js'
import { json, type ObjectApi, type Query } from './object-api.js'
import { finishUpload, sendChunks, type UploadTarget } from './send-chunks.js'

/**
 * An upload in a session of its own, for payloads that are too large for one request or of which nobody knows the length. The body is sent in one
 * go, in HTTP chunks: the object is made only by the last of them, which is sent after the source has ended well.
 * https://cloud.google.com/storage/docs/resumable-uploads
 *
 * A cut-off upload is not resumed: the source gives its chunks only once, and keeping them would take as much memory as the upload has bytes.
 */
export class ResumableUpload {
  readonly #api: ObjectApi
  readonly #target: UploadTarget
  /** The session's own address, without the server's, which may be another one's seen from here. */
  readonly #path: string
  readonly #expected: ExpectedPayload

  private constructor(api: ObjectApi, target: UploadTarget, path: string, expected: ExpectedPayload) {
    this.#api = api
    this.#target = target
    this.#path = path
    this.#expected = expected
  }

  static async begin(api: ObjectApi, query: Query, target: UploadTarget, expected: ExpectedPayload, signal: AbortSignal | undefined): Promise<ResumableUpload> {
    const headers = {
      'content-type': 'application/json; charset=UTF-8',
      'x-upload-content-type': target.contentType,
      ...(expected.byteLength === undefined ? {} : { 'x-upload-content-length': String(expected.byteLength) }),
    }
    const response = await api.upload(query, headers, [Buffer.from(JSON.stringify(target.resource))], signal)
    drop(response)
    const { location } = response.headers
    if (location === undefined) throw new CacheError('failed', 'put on gcs failed: the upload was begun without an address to send to', { operation: 'put', backend: 'gcs' })
    const { pathname, search } = new URL(location, 'http://localhost')
    return new ResumableUpload(api, target, pathname + search, expected)
  }

  /** Sends everything. When anything fails, the source included, the session is ended. */
  async send(chunks: AsyncIterator<Uint8Array>, options: OperationOptions): Promise<void> {
    try {
      await this.#send(chunks, options)
    } catch (error) {
      await this.#cancel()
      throw error
    }
  }

  async #send(chunks: AsyncIterator<Uint8Array>, options: OperationOptions): Promise<void> {
    const { byteLength, crc32 } = this.#expected
    const headers = { 'content-type': this.#target.contentType, 'content-range': `bytes 0-*/${byteLength ?? '*'}` }
    const exchange = await this.#api.session(this.#path, { method: 'PUT', headers, signal: options.signal }, undefined)
    const md5 = crc32 === undefined ? createHash('md5') : undefined
    try {
      const bytes = await sendChunks(exchange, chunks, options, md5 === undefined ? undefined : (chunk) => md5.update(chunk))
      await this.#check(await json<Resource>(await finishUpload(exchange)), bytes, md5?.digest('base64'))
    } catch (error) {
      exchange.destroy()
      throw error
    }
  }

  /** Where the metadata says nothing of the payload's checksum, the store's own has to be right from the beginning. */
  async #check({ generation, size, md5Hash }: Resource, bytes: number, md5: string | undefined): Promise<void> {
    if ((size === undefined || Number(size) === bytes) && (md5Hash === undefined || md5 === undefined || md5Hash === md5)) return
    await this.#api.remove(this.#target.name, generation, undefined)
    throw new CacheError('failed', 'put on gcs failed: what arrived is not what was sent; it was removed', { operation: 'put', backend: 'gcs', retryable: false })
  }

  /** Nobody is told when this fails: a session that cannot be reached ends by itself within a week, and what failed before is told. */
  async #cancel(): Promise<void> {
    try {
      const exchange = await this.#api.session(this.#path, { method: 'DELETE' }, 0)
      exchange.finish()
      drop(await exchange.answer) // 499 says that it is ended
    } catch {
      // see above
    }
  }
}
