import { CacheError, type Clock } from '@thermocline/backend'

/*
 * One stream, many readers. The source is read once, whoever reads it: callers, and tiers on the side that keep what passes.
 *
 * Callers set the pace: the next chunk is read when one of them has read all there is. Nobody makes the others wait for ever: a tier that
 * is a window behind for its budget is left behind for good, and a caller that is gets the rest by itself (`resume`) when it comes
 * for it; for them the tiers read on when all others have left. So memory is bounded by one window, whoever stalls. A reader who comes late gets what has passed, while that is still
 * within the window.
 *
 * Rejected: Node's own `Readable.tee`-like forks (`ReadableStream.tee` buffers without limit), and the slowest reader's pace for all (one
 * program that reads two streams of one key in turn would wait for itself).
 */

/** How far readers may be apart, and how much of the beginning is kept for those who come late. */
const WINDOW_BYTES = 8 * 1024 ** 2

export interface ReaderOptions {
  /** Whether the next chunk is read because this reader wants it. If nobody's is, everybody's. */
  readonly paces: boolean
  /** How long it may be a window behind while others wait, in milliseconds; `undefined`: as long as it takes. */
  readonly patienceMs: number | undefined
  /** Where a reader who was left behind gets the rest from; without it, it fails. */
  readonly resume?: ((offset: number) => AsyncIterable<Uint8Array>) | undefined
}

export interface SharedStreamOptions {
  readonly clock: Clock
  /** Called once, before the first chunk passes or, if there is none, before the end. Who joins now still gets everything. */
  readonly begins?: (() => void) | undefined
  /** Waited for before those who pace are told of the end. */
  readonly beforeEnd?: (() => Promise<unknown> | undefined) | undefined
  /** Ends the source at once; its `return` would wait behind a chunk that hangs. */
  readonly cancel?: (() => void) | undefined
  /** The last one who paces has left before the end. */
  readonly deserted?: (() => void) | undefined
}

export class SharedStream {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #options: SharedStreamOptions
  readonly #readers = new Set<Reader>()
  /** Callers who go on by themselves, with what the others have kept of it. */
  readonly #behind = new Set<Reader>()
  /** What passed so far; `undefined` when that is more than a window. */
  #beginning: Uint8Array[] | undefined = []
  #bytes = 0
  #hasBegun = false
  #isPulling = false
  #isOver = false
  #hasFailed = false
  #isDeserted = false
  /** Resolves when the source has ended and everything is there; rejects with what it failed with. */
  readonly ended: Promise<void>
  #end!: (error: Error | undefined) => void // set by the constructor

  constructor(source: AsyncIterable<Uint8Array>, options: SharedStreamOptions) {
    this.#source = source[Symbol.asyncIterator]()
    this.#options = options
    this.ended = new Promise((resolve, reject) => {
      this.#end = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.ended.catch(() => undefined) // every reader is told by itself
  }

  /** Whether a caller still reads it, or is to get the rest from a tier that does. */
  get isWanted(): boolean {
    return (this.#behind.size > 0 && this.#readers.size > 0) || [...this.#readers].some(({ paces }) => paces)
  }

  /** Whether it was given up because no caller was left. */
  get isDeserted(): boolean {
    return this.#isDeserted
  }

  /** Nobody is left who paces it, or nobody ever came. */
  desert(): void {
    if (this.#isOver) return
    this.#isDeserted = true
    this.#options.deserted?.()
  }

  /** Whether it has ended with an error, its source's or because it was given up. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** Bytes that have passed so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** One more reader, from the beginning; `undefined` when that is gone. */
  join(options: ReaderOptions): Reader | undefined {
    if (this.#beginning === undefined || this.#isOver) return undefined
    const reader = new Reader(options, this.#beginning, {
      clock: this.#options.clock,
      wake: () => this.#wake(),
      left: (one) => this.#left(one),
      beforeEnd: options.paces ? this.#options.beforeEnd : undefined,
    })
    this.#readers.add(reader)
    return reader
  }

  /** Ends the stream for everybody who still reads. */
  abort(error: unknown): void {
    if (this.#isOver) return
    this.#finish(error)
    this.#options.cancel?.()
    // a hanging source's return() would wait behind its hanging next(), so nobody waits for it
    void this.#source.return?.()?.then(undefined, () => undefined)
  }

  #wake(): void {
    if (this.#isPulling || this.#isOver) return
    const readers = [...this.#readers]
    const pacing = readers.filter(({ paces }) => paces)
    if (!(pacing.length > 0 ? pacing : readers).some(({ isWaiting }) => isWaiting)) return
    const behind = readers.filter(({ lag }) => lag >= WINDOW_BYTES)
    if (behind.length === 0) return this.#pull()
    for (const reader of behind) {
      reader.waitFor(() => {
        if (reader.lag < WINDOW_BYTES || this.#isOver) return
        this.#readers.delete(reader)
        if (reader.leaveBehind(this.#bytes)) this.#behind.add(reader)
        this.#goOn(this.#behind.size > 0)
      })
    }
  }

  #pull(): void {
    this.#isPulling = true
    this.#source.next().then(
      (step) => {
        this.#isPulling = false
        if (this.#isOver) return
        this.#begin()
        if (step.done === true) return this.#finish(undefined)
        this.#pass(step.value)
        this.#wake()
      },
      (error: unknown) => {
        this.#isPulling = false
        this.#finish(error ?? new CacheError('failed', 'a stream failed without saying why', { operation: 'stream' }))
      },
    )
  }

  #begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    this.#options.begins?.()
  }

  #pass(chunk: Uint8Array): void {
    if (chunk.byteLength === 0) return
    this.#bytes += chunk.byteLength
    if (this.#bytes > WINDOW_BYTES) this.#beginning = undefined
    else this.#beginning?.push(chunk)
    for (const reader of this.#readers) reader.give(chunk)
  }

  #finish(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#hasFailed = error !== undefined
    this.#beginning = undefined
    this.#end(error as Error | undefined)
    for (const reader of this.#readers) reader.end(error)
    this.#readers.clear()
    this.#behind.clear()
  }

  #left(reader: Reader): void {
    if ((this.#readers.delete(reader) || this.#behind.delete(reader)) && !this.#isOver) this.#goOn(reader.paces || this.#behind.size > 0)
  }

  /** @param hadCallers whether it is read for callers at all */
  #goOn(hadCallers: boolean): void {
    if (hadCallers && !this.isWanted) this.desert()
    else this.#wake()
  }
}

interface ReaderHost {
  readonly clock: Clock
  wake(): void
  left(reader: Reader): void
  readonly beforeEnd: (() => Promise<unknown> | undefined) | undefined
}

/** One reader of a shared stream. */
export class Reader implements AsyncIterableIterator<Uint8Array> {
  readonly #options: ReaderOptions
  readonly #host: ReaderHost
  readonly #queue: Uint8Array[]
  #lag: number
  #waiting: { resolve: (step: IteratorResult<Uint8Array>) => void; reject: (error: unknown) => void } | undefined
  #ended: { readonly error: unknown } | undefined
  /** Where it goes on by itself. */
  #alone: AsyncIterator<Uint8Array> | undefined
  #cancelPatience: (() => void) | undefined

  constructor(options: ReaderOptions, beginning: readonly Uint8Array[], host: ReaderHost) {
    this.#options = options
    this.#host = host
    this.#queue = [...beginning]
    this.#lag = beginning.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  }

  get paces(): boolean {
    return this.#options.paces
  }

  /** Whether it has read everything there is and wants more. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined
  }

  /** Bytes it has not read yet. */
  get lag(): number {
    return this.#lag
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#queue.shift()
    if (chunk !== undefined) {
      this.#lag -= chunk.byteLength
      if (this.#lag < WINDOW_BYTES) this.#forgive()
      this.#host.wake()
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.#alone !== undefined) return this.#nextOf(this.#alone)
    if (this.#ended !== undefined) return this.#last(this.#ended.error)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#host.wake()
    })
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#forgive()
    this.#queue.length = 0
    this.#lag = 0
    this.#ended ??= { error: undefined }
    this.#waiting?.resolve({ done: true, value: undefined })
    this.#waiting = undefined
    this.#host.left(this)
    await this.#alone?.return?.()
    return { done: true, value: undefined }
  }

  give(chunk: Uint8Array): void {
    const waiting = this.#waiting
    if (waiting !== undefined) {
      this.#waiting = undefined
      return waiting.resolve({ done: false, value: chunk })
    }
    this.#queue.push(chunk)
    this.#lag += chunk.byteLength
  }

  end(error: unknown): void {
    this.#forgive()
    this.#ended = { error }
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) this.#last(error).then(waiting.resolve, waiting.reject)
  }

  /** Calls back when it has been a window behind for as long as it may. */
  waitFor(tooLong: () => void): void {
    const { patienceMs } = this.#options
    if (patienceMs !== undefined) this.#cancelPatience ??= this.#host.clock.schedule(patienceMs, tooLong)
  }

  /** The others go on without it: after what is queued for it, it gets the rest elsewhere; false: it fails. */
  leaveBehind(offset: number): boolean {
    this.#forgive()
    const { resume } = this.#options
    if (resume !== undefined) {
      this.#alone = resume(offset)[Symbol.asyncIterator]()
      return true
    }
    this.#queue.length = 0
    this.end(new CacheError('timeout', `a reader of a stream was ${WINDOW_BYTES} bytes behind the others for too long and was left behind`, { operation: 'stream' }))
    return false
  }

  async #nextOf(alone: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    let isOver = true
    try {
      const step = await alone.next()
      isOver = step.done === true
      return step
    } finally {
      if (isOver) this.#host.left(this)
    }
  }

  async #last(error: unknown): Promise<IteratorResult<Uint8Array>> {
    if (error !== undefined) throw error as Error
    await this.#host.beforeEnd?.()
    return { done: true, value: undefined }
  }

  #forgive(): void {
    this.#cancelPatience?.()
    this.#cancelPatience = undefined
  }
}
