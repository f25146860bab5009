import {
  CacheError,
  checkedChunks,
  decodeFrameHeader,
  readOnce,
  ownMemory,
  payloadProblem,
  readFrameHead,
  type FrameContent,
  type FrameHeader,
  type OperationOptions,
  type PayloadStream,
} from '@thermocline/backend'
import { readingOfFailure } from './entry-file.js'
import { asFsError } from './errors.js'
import { sharedDisk } from './disk.js'
import { FIRST_READ, openAgain, openStart, readAt, type CloseFile, type FileStart } from './file-io.js'
import { HeldFile } from './held-files.js'

/** Read at once. One piece is read while the one before is used. */
const PIECE = 256 * 1024

const NAMED: StreamOptions = { keepsName: true }
const NO_OPTIONS: OperationOptions = {}

/** What a path holds, open to be read. */
export type StreamReading =
  | { readonly status: 'ok'; readonly header: FrameHeader; readonly payload: FilePayload; readonly links: number }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }
  | { readonly status: 'missing' }

export interface StreamOptions {
  /** Whether the file keeps its name, so that it may be closed between two reads and opened again. */
  readonly keepsName: boolean
  readonly options?: OperationOptions
}

/**
 * Within a turn: opens an entry's file to be read as a stream: `ok` has to be read or cancelled. A file that one read shows whole is checked at
 * once, and holds nothing.
 *
 * @param damaged told of what the end of the payload shows, before the reader is
 */
export async function openEntryStream(path: string, close: CloseFile, damaged: (error: CacheError) => Promise<void>, { keepsName, options = NO_OPTIONS }: StreamOptions = NAMED): Promise<StreamReading> {
  let start: FileStart & { readonly fd: number }
  try {
    start = await openStart(path, close, options)
  } catch (error) {
    return readingOfFailure(error)
  }
  const { fd, bytes, stats } = start
  let file: HeldFile | undefined
  try {
    const reading = await readHeader(fd, bytes)
    if (reading.status !== 'ok') return reading
    const { header } = reading
    const whole = header.payloadOffset + header.payloadBytes
    if (stats.size !== whole) return { status: 'corrupt', reason: `it does not have the ${whole} bytes that its header claims` }
    let inMemory: Buffer | undefined
    if (bytes.byteLength === whole) {
      inMemory = ownMemory(bytes.subarray(header.payloadOffset))
      const reason = payloadProblem(header, inMemory)
      if (reason !== undefined) return { status: 'corrupt', reason }
    } else file = new HeldFile(fd, { held: sharedDisk().held, close, reopen: keepsName ? () => reopen(path, header, close) : undefined })
    return { status: 'ok', header, payload: new FilePayload(header, file ?? (inMemory as Buffer), damaged), links: stats.nlink }
  } finally {
    if (file === undefined) close(fd)
  }
}

/** Opens the file once more; what was written over it since is not what the stream has begun with. */
async function reopen(path: string, header: FrameHeader, close: CloseFile): Promise<number> {
  const fd = await openAgain(path)
  try {
    const now = await readHeader(fd, await readAt(fd, FIRST_READ, 0))
    if (now.status === 'ok' && isSame(now.header, header)) return fd
  } catch (error) {
    close(fd)
    throw error
  }
  close(fd)
  throw new CacheError('failed', 'the stream of an entry ended early: the entry was replaced while the process had too many files open to keep this one', {
    operation: 'get',
    backend: 'fs',
    tenant: header.tenant,
    key: header.key,
    concerns: 'key',
  })
}

function isSame(a: FrameHeader, b: FrameHeader): boolean {
  return a.tenant === b.tenant && a.key === b.key && a.payloadOffset === b.payloadOffset && a.payloadBytes === b.payloadBytes && a.payloadCrc === b.payloadCrc
}

/** Whether what is there now is ours and damaged, found out in pieces. */
export async function isDamaged(path: string, close: CloseFile): Promise<boolean> {
  let damage = false
  const { turns } = sharedDisk()
  const reading = await turns.during(NO_OPTIONS, () =>
    openEntryStream(path, close, () => {
      damage = true
      return Promise.resolve()
    }),
  )
  if (reading.status !== 'ok') return reading.status === 'corrupt'
  try {
    for await (const _ of reading.payload.chunks());
  } catch (error) {
    if (!damage) throw error
  }
  return damage
}

async function readHeader(fd: number, bytes: Buffer): Promise<FrameContent> {
  const head = readFrameHead(bytes, FIRST_READ)
  if (head !== undefined) return head
  const short = decodeFrameHeader(bytes)
  const needed = short.status === 'short' ? short.needed : FIRST_READ
  return readFrameHead(await readAt(fd, needed, 0), needed) ?? { status: 'corrupt', reason: 'it ends inside its header' }
}

/** Closes what nobody has read to its end or cancelled, when it is collected: the last resort. */
const forgotten = new FinalizationRegistry<HeldFile>((file) => file.close())

/** A file's payload as a stream. */
export class FilePayload implements PayloadStream {
  readonly codec: string
  readonly byteLength: number
  readonly crc32: number
  readonly #header: FrameHeader
  readonly #source: HeldFile | Buffer
  readonly #damaged: (error: CacheError) => Promise<void>
  /** @throws TypeError the second time */
  readonly chunks: () => AsyncIterable<Uint8Array>

  constructor(header: FrameHeader, source: HeldFile | Buffer, damaged: (error: CacheError) => Promise<void>) {
    this.codec = header.codec
    this.byteLength = header.payloadBytes
    this.crc32 = header.payloadCrc
    this.#header = header
    this.#source = source
    this.#damaged = damaged
    this.chunks = readOnce(() => (Buffer.isBuffer(source) ? inOnePiece(source) : this.#checked(source)))
    if (!Buffer.isBuffer(source)) forgotten.register(this, source, this)
  }

  /** Called once, when nothing is held any more; at once, where nothing ever was. */
  onRelease(released: () => void): void {
    if (Buffer.isBuffer(this.#source) || this.#source.isClosed) released()
    else this.#source.onClose = released
  }

  cancel(): void {
    if (Buffer.isBuffer(this.#source) || this.#source.isClosed) return
    this.#source.close()
    forgotten.unregister(this)
  }

  async *#checked(file: HeldFile): AsyncGenerator<Uint8Array, void, undefined> {
    let damage: CacheError | undefined
    const damaged = (reason: string): CacheError => (damage = this.#failure('corrupt', `an entry's file is of no use because ${reason}`))
    try {
      yield* checkedChunks(this.#pieces(file), this, damaged)
    } catch (error) {
      if (damage !== undefined) await this.#damaged(damage)
      throw asFsError(error, 'get', this.#header.key)
    } finally {
      this.cancel()
    }
  }

  async *#pieces(file: HeldFile): AsyncGenerator<Uint8Array, void, undefined> {
    const { turns } = sharedDisk()
    const { payloadOffset } = this.#header
    const end = payloadOffset + this.byteLength
    const readFrom = (at: number): Promise<Buffer> => {
      if (file.isClosed) return Promise.reject(this.#givenUp())
      const reading = turns.during(NO_OPTIONS, () => this.#read(file, Math.min(PIECE, end - at), at), true)
      reading.catch(() => undefined) // the reader may leave before it is asked for
      return reading
    }
    let next = readFrom(payloadOffset)
    for (let at = payloadOffset; at < end; ) {
      const piece = await next
      if (file.isClosed) throw this.#givenUp()
      if (piece.byteLength === 0) return // it was cut off since it was opened
      at += piece.byteLength
      if (at < end) next = readFrom(at)
      yield piece
    }
  }

  /** It may have been closed while the turn was waited for. */
  async #read(file: HeldFile, bytes: number, at: number): Promise<Buffer> {
    if (file.isClosed) throw this.#givenUp()
    return file.use((fd) => readAt(fd, bytes, at))
  }

  #givenUp(): CacheError {
    return this.#failure('failed', 'the stream of an entry was given up before its end, and has nothing more')
  }

  #failure(code: 'corrupt' | 'failed', message: string): CacheError {
    const { tenant, key } = this.#header
    return new CacheError(code, message, { operation: 'get', backend: 'fs', tenant, key })
  }
}

async function* inOnePiece(bytes: Buffer): AsyncGenerator<Uint8Array, void, undefined> {
  if (bytes.byteLength > 0) yield bytes
}
