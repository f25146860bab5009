import { CacheError, checkedChunks, crc32, encodeHeaderOf, type PutOptions, type StreamedEntry, type TenantScope, type ValidKey } from '@thermocline/backend'
import { Batch } from './batch.js'
import type { Body, BodyHost, FinishFile } from './body.js'
import { sharedDisk } from './disk.js'
import { asFsError } from './errors.js'
import { openForWriting, openNewFile, writeAt } from './file-io.js'
import type { GrowingRoom } from './growing-room.js'
import { HeldFile } from './held-files.js'
import { SourceReader } from './source-reader.js'

/** Written at once, about: while one such piece is written, the next is gathered. */
const PIECE = 1024 * 1024
/** Claimed until the real length is known, so that a file that breaks off never looks whole. */
const NEVER_REACHED = Number.MAX_SAFE_INTEGER

export interface StreamedBodyHost extends BodyHost {
  /** The largest file that fits. */
  readonly maxFileBytes: number
  readonly room: GrowingRoom | undefined
}

/**
 * An entry that is written as its bytes arrive. Its header stands in front, with what is known beforehand, and is written once more
 * when all is known.
 */
export class StreamedBody implements Body {
  readonly #host: StreamedBodyHost
  readonly #scope: TenantScope
  readonly #key: ValidKey
  readonly #entry: StreamedEntry
  readonly #options: PutOptions
  readonly #headerBytes: number
  readonly #batch = new Batch()
  #source: SourceReader | undefined
  /** Of the file, on the disk. */
  #writtenBytes = 0
  #payloadBytes = 0
  #crc = 0

  constructor(host: StreamedBodyHost, scope: TenantScope, key: ValidKey, entry: StreamedEntry, options: PutOptions) {
    this.#host = host
    this.#scope = scope
    this.#key = key
    this.#entry = entry
    this.#options = options
    this.#headerBytes = this.#firstHeader().byteLength
  }

  get bytes(): number {
    return this.#headerBytes + (this.#entry.payload.byteLength ?? 0)
  }

  get payloadBytes(): number {
    return this.#payloadBytes
  }

  reserve(): Promise<boolean> {
    return this.#host.room?.growTo(this.bytes, this.#options) ?? Promise.resolve(true)
  }

  async writeTo(path: string, opened: (() => void) | undefined, finish: FinishFile): Promise<boolean | undefined> {
    const { close, modes } = this.#host
    const { turns, held } = sharedDisk()
    const file = await turns.during(this.#options, async () => {
      const fd = await openNewFile(path, modes.file, this.#options)
      await modes.settle(fd)
      return new HeldFile(fd, { held, close, reopen: () => openForWriting(path) })
    })
    try {
      opened?.()
      if (!(await this.#write(file))) return undefined
      return await turns.during(this.#options, () => file.use(finish), true)
    } finally {
      file.close()
    }
  }

  landed(directory: string, replaced: number): void {
    this.#host.room?.landed(directory, replaced)
  }

  dropped(): void {
    this.#host.room?.dropped()
  }

  release(): void {
    if (this.#source === undefined) this.#entry.payload.cancel()
    else this.#source.release()
  }

  /** False when it is too large. */
  async #write(file: HeldFile): Promise<boolean> {
    const { payload } = this.#entry
    const wrong = (reason: string): CacheError =>
      new CacheError('corrupt', `the stream to be stored is not what it claims to be: ${reason}`, { operation: 'put', backend: 'fs', tenant: this.#scope.tenant, key: this.#key })
    const source = new SourceReader(payload, checkedChunks(payload.chunks(), payload, wrong), this.#options.signal)
    this.#source = source
    let writing: Promise<void> = Promise.resolve()
    try {
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        this.#payloadBytes += chunk.byteLength
        if (this.#headerBytes + this.#payloadBytes > this.#host.maxFileBytes) return false
        if (payload.crc32 === undefined) this.#crc = crc32(chunk, this.#crc)
        for (let at = 0; at < chunk.byteLength; at += PIECE) {
          this.#batch.add(chunk.subarray(at, at + PIECE))
          if (this.#batch.bytes < PIECE) continue
          await writing
          if (!(await this.#hasRoom())) return false
          writing = this.#writeBatch(file)
          writing.catch((error: unknown) => source.stop(asFsError(error, 'put', this.#key, true)))
        }
      }
      await writing
      return await this.#finish(file)
    } finally {
      await writing.catch(() => undefined) // nothing is written to a descriptor that is closed
    }
  }

  async #finish(file: HeldFile): Promise<boolean> {
    if (!(await this.#hasRoom())) return false
    const { payload } = this.#entry
    const header = this.#header(this.#payloadBytes, payload.crc32 ?? this.#crc)
    const isBegun = this.#writtenBytes > 0
    if (!isBegun || this.#batch.bytes > 0) await this.#writeBatch(file, header)
    if (isBegun && !this.#isKnown) await this.#writeAt(file, [header], 0)
    return true
  }

  #hasRoom(): Promise<boolean> {
    return this.#host.room?.growTo(this.#headerBytes + this.#payloadBytes, this.#options) ?? Promise.resolve(true)
  }

  /** Appends what was gathered; at the beginning, after the header. */
  async #writeBatch(file: HeldFile, header = this.#firstHeader()): Promise<void> {
    const at = this.#writtenBytes
    const bytes = this.#batch.bytes + (at === 0 ? this.#headerBytes : 0)
    const parts = this.#batch.take()
    this.#writtenBytes += bytes
    await this.#writeAt(file, at === 0 ? [header, ...parts] : parts, at)
    this.#host.room?.written(bytes)
    this.#options.progress?.()
  }

  #writeAt(file: HeldFile, parts: readonly Uint8Array[], at: number): Promise<void> {
    return sharedDisk().turns.during(this.#options, () => file.use((fd) => writeAt(fd, parts, at, this.#options)), true)
  }

  /** Whether the header is right from the beginning. */
  get #isKnown(): boolean {
    const { byteLength, crc32: crc } = this.#entry.payload
    return byteLength !== undefined && crc !== undefined
  }

  #firstHeader(): Buffer {
    const { byteLength, crc32: crc } = this.#entry.payload
    return byteLength === undefined || crc === undefined ? this.#header(NEVER_REACHED, 0) : this.#header(byteLength, crc)
  }

  #header(byteLength: number, crc: number): Buffer {
    const { codec } = this.#entry.payload
    return encodeHeaderOf(this.#scope.tenant, this.#key, this.#entry, this.#options.keepUntil, { codec, byteLength, crc32: crc })
  }
}
