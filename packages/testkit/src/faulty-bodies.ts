import { StreamedEntry, type CacheEntry, type CacheError, type CacheErrorCode, type Clock, type PayloadStream } from '@thermocline/backend'

/**
 * What goes wrong with the bytes of a stream, after so many of them (default 0: before the first):
 *
 * - `fail`: the stream breaks off with the code
 * - `stall`: no more bytes come until the fault is released; dropped, it breaks off as `unavailable`
 * - `slowMs`: each chunk from there on comes so many milliseconds late
 *
 * Of a stream that is written the store sees the same: a connection that breaks or hangs in mid-body.
 */
export type BodyFault =
  | { readonly fail: CacheErrorCode; readonly retryable?: boolean; readonly afterBytes?: number }
  | { readonly stall: true; readonly afterBytes?: number }
  | { readonly slowMs: number; readonly afterBytes?: number }

/** What a fault needs of those that made it. */
interface BodyFaultHost {
  readonly clock: Clock
  failure(code: CacheErrorCode, retryable: boolean | undefined): CacheError
  /** Settles when what hangs is released or dropped. */
  hold(): Promise<unknown>
}

/** The entry with a payload that is faulty. */
export function withBodyFault(entry: StreamedEntry, fault: BodyFault, host: BodyFaultHost): StreamedEntry {
  return new StreamedEntry(new FaultyBody(entry.payload, fault, host), fieldsOf(entry))
}

function fieldsOf({ createdAt, expiresAt, computeMicros, details }: CacheEntry): ConstructorParameters<typeof StreamedEntry>[1] {
  return { createdAt, expiresAt, computeMicros, details }
}

class FaultyBody implements PayloadStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #inner: PayloadStream
  readonly #fault: BodyFault
  readonly #host: BodyFaultHost
  readonly #cancelled: Promise<never>
  #cancel: (error: CacheError) => void = () => undefined

  constructor(inner: PayloadStream, fault: BodyFault, host: BodyFaultHost) {
    this.codec = inner.codec
    this.byteLength = inner.byteLength
    this.crc32 = inner.crc32
    this.#inner = inner
    this.#fault = fault
    this.#host = host
    this.#cancelled = new Promise<never>((_, reject) => (this.#cancel = reject))
    this.#cancelled.catch(() => undefined)
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const left = this.#fault.afterBytes ?? 0
    let passed = 0
    let stalled = false
    for await (const chunk of this.#inner.chunks()) {
      const sound = Math.min(Math.max(0, left - passed), chunk.byteLength)
      passed += sound
      if (sound > 0) yield chunk.subarray(0, sound)
      if (sound === chunk.byteLength) continue
      if (!stalled) await this.#strike()
      stalled = 'stall' in this.#fault // once released it does not stall again
      yield chunk.subarray(sound)
    }
    if (passed < left || stalled || 'slowMs' in this.#fault) return
    await this.#strike() // it was to break, or hang, exactly at its end
  }

  cancel(): void {
    this.#inner.cancel()
    this.#cancel(this.#host.failure('failed', false)) // what waits is told
  }

  async #strike(): Promise<void> {
    const fault = this.#fault
    if ('fail' in fault) throw this.#host.failure(fault.fail, fault.retryable)
    const wait = 'stall' in fault ? this.#host.hold() : new Promise<void>((resolve) => void this.#host.clock.schedule(fault.slowMs, resolve))
    await Promise.race([wait, this.#cancelled])
  }
}
