import { encodeFrameHeader, type CacheEntry, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { Modes } from './access.js'
import { sharedDisk } from './disk.js'
import { writeNewFile, type CloseFile } from './file-io.js'
import type { Space } from './space.js'

/** What is done with a file that is written whole, while it is open. */
export type FinishFile = (fd: number) => Promise<boolean>

/** What bodies know of the store that they are in. */
export interface BodyHost {
  readonly modes: Modes
  readonly close: CloseFile
}

/** How an entry's bytes get into a file, and what they take up while and after they do. */
export interface Body {
  /** Bytes of the whole file, as far as they are known. */
  readonly bytes: number
  /** Bytes of the payload; right once it is written. */
  readonly payloadBytes: number
  /** Makes room for what is known; false when there is none. `landed` or `dropped` follows. */
  reserve(): Promise<boolean>
  /**
   * Creates the file, writes all of it and then has it finished; resolves with what `finish` says, or with `undefined` where there turned out to be
   * no room for it. In any case nothing is open in the end; after a failure, or without room, the file may be there in part.
   *
   * @param opened called when the file is there, before its bytes are
   * @param finish is given the descriptor, within a turn of the disk
   */
  writeTo(path: string, opened: (() => void) | undefined, finish: FinishFile): Promise<boolean | undefined>
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
  readonly #host: BodyHost
  readonly #space: Space | undefined
  readonly #options: OperationOptions

  constructor(host: BodyHost, space: Space | undefined, scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions) {
    const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
    const payload = entry.encoded?.bytes ?? new Uint8Array()
    this.payloadBytes = payload.byteLength
    this.bytes = header.byteLength + payload.byteLength
    this.#parts = [header, payload]
    this.#host = host
    this.#space = space
    this.#options = options
  }

  reserve(): Promise<boolean> {
    return this.#space?.reserve(this.bytes, this.#options) ?? Promise.resolve(true)
  }

  async writeTo(path: string, opened: (() => void) | undefined, finish: FinishFile): Promise<boolean> {
    const { modes, close } = this.#host
    const { turns } = sharedDisk()
    if (!turns.tryTake()) await turns.wait(this.#options)
    try {
      const fd = await writeNewFile(path, modes.file, this.#parts, this.#options, opened)
      try {
        this.#options.progress?.()
        if (modes.isMasked) await modes.settle(fd)
        return await finish(fd)
      } finally {
        close(fd)
      }
    } finally {
      turns.done()
    }
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
