import type { OperationOptions } from '@thermocline/backend'
import type { Usage } from './usage.js'

/** What a growing room asks of the space it is in. */
export interface GrowingRoomHost {
  /** Makes room for more bytes of a file that has `held` already, and counts them as there. */
  take(bytes: number, held: number, options: OperationOptions): Promise<boolean>
  /** Takes bytes out of those of growing files. */
  give(bytes: number): void
  /** A file got its name in the directory. */
  landed(directory: string): void
}

/**
 * The room of a file that grows while it is written. What was written of it counts as any file does, so that a scan, which finds
 * it among the temporary files, does not count it twice for as long as its source takes.
 */
export class GrowingRoom {
  readonly #usage: Usage
  readonly #host: GrowingRoomHost
  #held = 0
  #written = 0

  constructor(usage: Usage, host: GrowingRoomHost) {
    this.#usage = usage
    this.#host = host
  }

  /** Makes sure that the file may have so many bytes; false when there is no room to be had. */
  async growTo(bytes: number, options: OperationOptions): Promise<boolean> {
    const more = bytes - this.#held
    if (more <= 0) return true
    if (!(await this.#host.take(more, this.#held, options))) return false
    this.#held += more
    return true
  }

  /** So many more bytes are on the disk. */
  written(bytes: number): void {
    this.#written += bytes
    this.#usage.settled(bytes, true)
  }

  /** The file got its name in the directory, over another of `replaced` bytes. */
  landed(directory: string, replaced: number): void {
    this.#settle()
    this.#usage.removed(replaced)
    this.#host.landed(directory)
  }

  /** The file is gone. */
  dropped(): void {
    this.#settle()
    this.#usage.removed(this.#written)
  }

  #settle(): void {
    this.#usage.settled(this.#held - this.#written, false)
    this.#host.give(this.#held)
  }
}
