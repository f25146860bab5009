/** Files of streams, open while nothing of them is read or written: no more than so many, the ones that have waited longest are closed. */
export class HeldFiles {
  readonly #most: number
  /** The one that has been idle longest first. */
  readonly #idle = new Set<HeldFile>()
  #open = 0

  constructor(most: number) {
    this.#most = most
  }

  /** A file has been opened that will be held. */
  opened(): void {
    this.#open++
  }

  closed(file: HeldFile): void {
    this.#open--
    this.#idle.delete(file)
  }

  used(file: HeldFile): void {
    this.#idle.delete(file)
  }

  idle(file: HeldFile): void {
    this.#idle.add(file)
    for (const oldest of this.#idle) {
      if (this.#open <= this.#most) return
      oldest.park()
    }
  }

  /** Closes all that nobody uses at the moment: descriptors are short. */
  parkAll(): void {
    for (const file of this.#idle) file.park()
  }
}

export interface HeldFileHost {
  readonly held: HeldFiles
  readonly close: (fd: number) => void
  /** Opens the file once more; rejects when another one is in its place. `undefined`: it cannot be opened again, so it stays open. */
  readonly reopen: (() => Promise<number>) | undefined
}

/**
 * A file that is used again and again. Between two uses its descriptor may be given up and opened anew, so that any number of streams
 * wait for each other without holding what another one needs. Closed at any time, the descriptor goes only when no use of it is
 * under way: its number may belong to another file right after.
 */
export class HeldFile {
  readonly #host: HeldFileHost
  /** Called once, when it is closed. Must not keep the reader alive, or it would never be collected. */
  onClose: (() => void) | undefined
  #fd: number | undefined
  #opening: Promise<number> | undefined
  #uses = 0
  #closed = false

  constructor(fd: number, host: HeldFileHost) {
    this.#fd = fd
    this.#host = host
    host.held.opened()
    this.#rest()
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Call only while it is open, and within a turn. */
  async use<T>(work: (fd: number) => Promise<T>): Promise<T> {
    this.#uses++
    this.#host.held.used(this)
    try {
      return await work(this.#fd ?? (await this.#openAgain()))
    } finally {
      if (--this.#uses === 0) {
        if (this.#closed) this.#release()
        else this.#rest()
      }
    }
  }

  /** Gives up the descriptor until the next use. Called only while there is none. */
  park(): void {
    if (this.#host.reopen !== undefined) this.#release()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#uses === 0) this.#release()
    this.onClose?.()
  }

  #rest(): void {
    if (this.#fd !== undefined && this.#host.reopen !== undefined) this.#host.held.idle(this)
  }

  #openAgain(): Promise<number> {
    const reopen = this.#host.reopen as () => Promise<number> // only then it is ever parked
    this.#opening ??= reopen()
      .then((fd) => {
        this.#host.held.opened()
        return (this.#fd = fd)
      })
      .finally(() => (this.#opening = undefined))
    return this.#opening
  }

  #release(): void {
    const fd = this.#fd
    if (fd === undefined) return
    this.#fd = undefined
    this.#host.held.closed(this)
    this.#host.close(fd)
  }
}
