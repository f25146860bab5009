import { CacheError, type CancelTimer, type Clock } from '@thermocline/backend'
import type { AroundCompute, ComputeStep } from './compute-point.js'
import type { Flight } from './flight.js'

/**
 * Puts the hard time limit around computes: one that has not ended by then has its signal aborted, what it returns is dropped, and its callers get
 * `compute-timeout`. The event loop has two turns more first, so that what has arrived meanwhile counts.
 */
export function timeLimit(clock: Clock): AroundCompute {
  return (step) => (step.hardTimeoutMs === undefined ? step.make() : limited(clock, step, step.hardTimeoutMs))
}

function limited<T>(clock: Clock, step: ComputeStep<T>, limitMs: number): Promise<T> {
  const { flight } = step
  return new Promise<T>((resolve, reject) => {
    let isOver = false
    const giveUp = (): void => {
      if (isOver) return
      isOver = true
      const error = computeTimeout(flight, limitMs)
      step.timedOut(error)
      flight.giveUp(error)
      reject(error)
    }
    const cancel = clock.schedule(limitMs, () => clock.afterPendingIo(giveUp), { background: flight.isBackground })
    flight.whenInBackground = () => cancel.keepAlive?.(false)
    const end = (): void => {
      isOver = true
      cancel()
    }
    step.make().then((made) => (end(), resolve(made)), (error: unknown) => (end(), reject(error as Error)))
  })
}

export function computeTimeout({ tenant, key }: Flight, limitMs: number): CacheError {
  return new CacheError('compute-timeout', `the compute took longer than its hardTimeout of ${limitMs} ms`, { operation: 'compute', tenant, key })
}

/**
 * The chunks of a stream that is made, as long as waiting for them takes no longer in all. Time in which nobody asks for one does not count: that is its readers'.
 *
 * @param late called when it does; with what the stream fails with
 */
export async function* limitedChunks(clock: Clock, source: AsyncIterable<Uint8Array>, limitMs: number, flight: Flight, late: () => CacheError): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = source[Symbol.asyncIterator]()
  let leftMs = limitMs
  let isOver = false
  try {
    for (;;) {
      const askedAt = clock.monotonic()
      const step = await inTime(clock, iterator.next(), leftMs, flight.isBackground)
      isOver = step === 'late' || step.value.done === true
      if (step === 'late') throw late()
      if (step.value.done === true) return
      leftMs -= clock.monotonic() - askedAt
      yield step.value.value
    }
  } finally {
    if (!isOver) await iterator.return?.() // one that hangs is not waited for
  }
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
