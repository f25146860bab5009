import { encodeFrameHeader, type CacheEntry, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/core'
import { writeNewFile } from './file-io.js'
import type { Space } from './space.js'

/** How an entry's bytes get into a file, and what they take up while and after they do. */
export interface Body {
  /** Bytes of the whole file, as far as they are known. */
  readonly bytes: number
  /** Bytes of the payload; right once it is written. */
  readonly payloadBytes: number
  /** Makes room for what is known; false when there is none. `landed` or `dropped` follows. */
  reserve(): Promise<boolean>
  /**
   * Creates the file and writes all of it; resolves with its descriptor, still open, or with `undefined` where there turned out to be no room for it. After
   * a failure, or without room, nothing is open; the file may be there in part.
   *
   * @param opened called when the file is there, before its bytes are
   */
  writeTo(path: string, opened: (() => void) | undefined): Promise<number | undefined>
  /** The file got its name in the directory, over another of `replaced` bytes. */
  landed(directory: string, replaced: number): void
  /** The file is gone. */
  dropped(): void
  /** Called at the end in any case. */
  release(): void
}

/** An entry whose bytes are at hand. */
export class WholeBody implements Body {
  readonly bytes: number
  readonly payloadBytes: number
  readonly #parts: readonly Uint8Array[]
  readonly #space: Space | undefined
  readonly #options: OperationOptions

  constructor(space: Space | undefined, scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions) {
    const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
    const payload = entry.encoded?.bytes ?? new Uint8Array()
    this.payloadBytes = payload.byteLength
    this.bytes = header.byteLength + payload.byteLength
    this.#parts = [header, payload]
    this.#space = space
    this.#options = options
  }

  reserve(): Promise<boolean> {
    return this.#space?.reserve(this.bytes, this.#options) ?? Promise.resolve(true)
  }

  writeTo(path: string, opened: (() => void) | undefined): Promise<number> {
    return writeNewFile(path, this.#parts, this.#options, opened)
  }

  landed(directory: string, replaced: number): void {
    this.#space?.landed(this.bytes, directory, replaced)
  }

  dropped(): void {
    this.#space?.dropped(this.bytes)
  }

  release(): void {
    // holds nothing
  }
}
