import { randomUUID } from 'node:crypto'
import { crc32, type ExpectedPayload, type OperationOptions, type PayloadStream } from '@thermocline/backend'
import { sourceChunks, type ObjectPayload } from '@thermocline/object-store'
import { unlessAborted } from './aborts.js'
import { drop } from './body.js'
import type { ObjectApi, Query } from './object-api.js'
import { ResumableUpload } from './resumable-upload.js'
import { finishUpload, sendChunks, type UploadTarget } from './send-chunks.js'

/** Streams up to here are sent in one request; of unknown length, they are gathered up to here first, to know length and checksum. */
const PART_BYTES = 8 * 1024 ** 2

/** Sends payloads. Nothing is to be seen of one before its end, and nothing is left when it fails. */
export class Uploader {
  readonly #api: ObjectApi

  constructor(api: ObjectApi) {
    this.#api = api
  }

  /** @param generation which the object has to have, `0`: none; `undefined`: whichever */
  async bytes(target: UploadTarget, bytes: Uint8Array, generation: string | undefined, { signal }: OperationOptions): Promise<void> {
    const { headers, before, after } = multipart(target)
    drop(await this.#api.upload(queryOf('multipart', target, generation), headers, [before, bytes, after], signal))
  }

  /** @param targetOf makes the target from what is known of the payload when its metadata has to be written */
  async stream(targetOf: (payload: ObjectPayload) => UploadTarget, payload: PayloadStream, generation: string | undefined, options: OperationOptions): Promise<void> {
    const { codec, byteLength, crc32: checksum } = payload
    const chunks = sourceChunks(payload, { operation: 'put', backend: 'gcs' })
    try {
      if (byteLength !== undefined && checksum !== undefined) {
        const target = targetOf({ codec, byteLength, crc32: checksum })
        if (byteLength <= PART_BYTES) await this.#inOne(target, chunks, byteLength, generation, options)
        else await this.#resumable(target, { byteLength, crc32: checksum }, chunks, generation, options)
        return
      }
      const { gathered, isAll } = await gather(chunks, options)
      if (isAll) {
        const bytes = Buffer.concat(gathered)
        await this.bytes(targetOf({ codec, byteLength: bytes.byteLength, crc32: crc32(bytes) }), bytes, generation, options)
      } else await this.#resumable(targetOf({ codec, byteLength, crc32: checksum }), { byteLength, crc32: checksum }, joined(gathered, chunks), generation, options)
    } finally {
      chunks.return().catch(() => undefined) // nobody waits for a source that hangs
    }
  }

  /** The closing boundary is sent after the last chunk was found to be right; without it, and so short of its length, the body is none. */
  async #inOne(target: UploadTarget, chunks: AsyncIterator<Uint8Array>, byteLength: number, generation: string | undefined, options: OperationOptions): Promise<void> {
    const { headers, before, after } = multipart(target)
    const length = before.byteLength + byteLength + after.byteLength
    const exchange = await this.#api.beginUpload(queryOf('multipart', target, generation), headers, length, options.signal)
    try {
      await exchange.write(before)
      await sendChunks(exchange, chunks, options)
      drop(await finishUpload(exchange, [after]))
    } catch (error) {
      exchange.destroy()
      throw error
    }
  }

  async #resumable(target: UploadTarget, expected: ExpectedPayload, chunks: AsyncIterator<Uint8Array>, generation: string | undefined, options: OperationOptions): Promise<void> {
    const upload = await ResumableUpload.begin(this.#api, queryOf('resumable', target, generation), target, expected, options.signal)
    await upload.send(chunks, options)
  }
}

async function* joined(first: readonly Uint8Array[], chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  yield* first
  for (let step = await chunks.next(); step.done !== true; step = await chunks.next()) yield step.value
}

/** Takes chunks until there are more bytes than one request has, or all. */
async function gather(chunks: AsyncIterator<Uint8Array>, { signal, progress }: OperationOptions): Promise<{ readonly gathered: readonly Uint8Array[]; readonly isAll: boolean }> {
  const gathered: Uint8Array[] = []
  for (let bytes = 0; bytes <= PART_BYTES; ) {
    const step = await unlessAborted(chunks.next(), signal)
    if (step.done === true) return { gathered, isAll: true }
    progress?.()
    gathered.push(step.value)
    bytes += step.value.byteLength
  }
  return { gathered, isAll: false }
}

function queryOf(uploadType: 'multipart' | 'resumable', { name }: UploadTarget, generation: string | undefined): Query {
  return { uploadType, name, ifGenerationMatch: generation, fields: 'generation,size,md5Hash' }
}

/** The metadata and the payload in one body. https://cloud.google.com/storage/docs/uploads-downloads#multipart */
function multipart({ contentType, resource }: UploadTarget): { readonly headers: Readonly<Record<string, string>>; readonly before: Buffer; readonly after: Buffer } {
  const boundary = randomUUID() // not to be found in any payload
  return {
    headers: { 'content-type': `multipart/related; boundary=${boundary}` },
    before: Buffer.from(`--${boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(resource)}\r\n--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`),
    after: Buffer.from(`\r\n--${boundary}--\r\n`),
  }
}

