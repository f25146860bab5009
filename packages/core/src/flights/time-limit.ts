import { CacheError, type CancelTimer, type Clock } from '@thermocline/backend'
import type { AroundCompute, ComputeStep } from './compute-point.js'
import type { Flight } from './flight.js'

/** A compute in the background that says nothing about its time is given up after so long: it holds a place that others wait for. */
const LONGEST_IN_BACKGROUND_MS = 600_000

/**
 * Puts the hard time limit around computes: one that has not ended by then has its signal aborted, what it returns is dropped, and its callers get
 * `compute-timeout`. The event loop has two turns more first, so that what has arrived meanwhile counts.
 */
export function timeLimit(clock: Clock): AroundCompute {
  return (step) => limited(clock, step)
}

function limited<T>(clock: Clock, step: ComputeStep<T>): Promise<T> {
  const { flight, hardTimeoutMs } = step
  return new Promise<T>((resolve, reject) => {
    let isOver = false
    let cancel: CancelTimer | undefined
    const arm = (limitMs: number): void => {
      cancel = clock.schedule(limitMs, () => clock.afterPendingIo(() => {
        if (isOver) return
        isOver = true
        const error = computeTimeout(flight, limitMs)
        step.timedOut(error)
        flight.giveUp(error)
        reject(error)
      }), { background: !flight.isWaitedFor })
    }
    if (hardTimeoutMs !== undefined) arm(hardTimeoutMs)
    else if (flight.isBackground) arm(LONGEST_IN_BACKGROUND_MS)
    flight.waitersChanged = () => {
      if (isOver) return
      if (cancel === undefined && flight.isBackground) arm(LONGEST_IN_BACKGROUND_MS)
      else cancel?.keepAlive?.(flight.isWaitedFor)
    }
    const end = (): void => {
      isOver = true
      cancel?.()
    }
    step.make().then((made) => (end(), resolve(made)), (error: unknown) => (end(), reject(error as Error)))
  })
}

function computeTimeout({ tenant, key }: Flight, limitMs: number): CacheError {
  return new CacheError('compute-timeout', `the compute took longer than its hardTimeout of ${limitMs} ms`, { operation: 'compute', tenant, key })
}

/** How long the source of a stream may be waited for, and what happens then. */
export interface ChunkLimit {
  readonly clock: Clock
  readonly flight: Flight
  readonly hardTimeoutMs: number | undefined
  /** It took longer; what the stream fails with. */
  readonly late: (error: CacheError) => void
}

/** The chunks of a stream that is made, as long as waiting for them takes no longer in all. Time in which nobody asks for one does not count: that is its readers'. */
export function limitedChunks(source: AsyncIterable<Uint8Array>, { clock, flight, hardTimeoutMs, late }: ChunkLimit): AsyncIterable<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]()
  let spentMs = clock.monotonic() - flight.beganAt
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const limitMs = hardTimeoutMs ?? (flight.isBackground ? LONGEST_IN_BACKGROUND_MS : undefined)
    if (limitMs === undefined) return iterator.next()
    const askedAt = clock.monotonic()
    const step = await inTime(clock, iterator.next(), limitMs - spentMs, !flight.isWaitedFor)
    spentMs += clock.monotonic() - askedAt
    if (step !== 'late') return step.value
    const error = computeTimeout(flight, limitMs)
    late(error)
    throw error
  }
  return { [Symbol.asyncIterator]: () => ({ next, return: () => iterator.return?.() ?? Promise.resolve({ done: true, value: undefined }) }) }
}

/** The outcome, or `late` when it takes longer. Where callers wait for it, it keeps the process up. */
export async function inTime<T>(clock: Clock, outcome: Promise<T>, withinMs: number, background = false): Promise<{ readonly value: T } | 'late'> {
  let cancel: CancelTimer = () => undefined
  const late = new Promise<'late'>((resolve) => {
    const tell = (): void => clock.afterPendingIo(() => resolve('late'))
    if (withinMs > 0) cancel = clock.schedule(withinMs, tell, { background })
    else tell()
  })
  try {
    return await Promise.race([outcome.then((value) => ({ value })), late])
  } finally {
    cancel()
  }
}
