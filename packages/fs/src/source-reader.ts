import { CacheError, isCacheError, type PayloadStream } from '@thermocline/backend'

/**
 * Takes the chunks of a source, and stops when it is told to, also while the source has nothing to give.
 *
 * What the source throws leaves as a `CacheError` that nobody retries: the source was read in part, and is not there twice.
 */
export class SourceReader {
  readonly #payload: PayloadStream
  readonly #signal: AbortSignal | undefined
  readonly #chunks: AsyncIterator<Uint8Array>
  #ended = false
  #stopped: CacheError | undefined
  #reject: ((error: CacheError) => void) | undefined

  /** @param chunks those of the payload, checked on their way */
  constructor(payload: PayloadStream, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#payload = payload
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#signal = signal
    if (signal?.aborted === true) this.#onAbort()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** The next chunk; `undefined` after the last. */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#stopped !== undefined) throw this.#stopped
    const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      this.#reject = reject
      this.#chunks.next().then(resolve, (error: unknown) => reject(sourceFailure(error)))
    })
    this.#reject = undefined
    if (next.done !== true) return next.value
    this.#ended = true
    return undefined
  }

  /** Lets what is waited for, and what comes after, fail with the error. */
  stop(error: CacheError): void {
    this.#stopped ??= error
    this.#reject?.(error)
  }

  /** Gives up what was not read. */
  release(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (this.#ended) return
    this.#payload.cancel()
    void this.#chunks.return?.()?.then(undefined, () => undefined) // may wait behind a source that hangs
  }

  readonly #onAbort = (): void => {
    this.stop(new CacheError('timeout', 'put was abandoned before all of the stream was written', { operation: 'put', backend: 'fs', cause: this.#signal?.reason }))
  }
}

function sourceFailure(error: unknown): CacheError {
  if (isCacheError(error) && !error.retryable) return error
  const code = isCacheError(error) ? error.code : 'failed'
  return new CacheError(code, 'put on fs was given up because the stream that it was to store failed', { operation: 'put', backend: 'fs', cause: error })
}
