import { readAt, type CloseFile } from './file-io.js'

/** A file open for reading. Closed at any time, the descriptor goes only when no read of it is under way: its number may belong to another file right after. */
export class OpenFile {
  readonly #fd: number
  readonly #close: CloseFile
  /** Called once, when it is closed. Must not keep the reader alive, or it would never be collected. */
  onClose: (() => void) | undefined
  #reads = 0
  #closed = false

  constructor(fd: number, close: CloseFile) {
    this.#fd = fd
    this.#close = close
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Call only while it is open. */
  async read(bytes: number, at: number): Promise<Buffer> {
    this.#reads++
    try {
      return await readAt(this.#fd, bytes, at)
    } finally {
      if (--this.#reads === 0 && this.#closed) this.#close(this.#fd)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#reads === 0) this.#close(this.#fd)
    this.onClose?.()
  }
}
