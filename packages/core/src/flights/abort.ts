const hubs = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls back once when the signal is aborted; returns how to stop listening. A signal gets one listener however many
 * callers share it: eleven would print a MaxListenersExceededWarning.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let hub = hubs.get(signal)
  if (hub === undefined) {
    hub = new Set()
    hubs.set(signal, hub)
    listen(signal, hub)
  }
  hub.add(callback)
  const joined = hub
  return () => {
    joined.delete(callback)
    if (joined.size === 0 && hubs.get(signal) === joined) {
      hubs.delete(signal)
      stops.get(joined)?.()
    }
  }
}

const stops = new WeakMap<Set<() => void>, () => void>()

function listen(signal: AbortSignal, hub: Set<() => void>): void {
  const fire = (): void => {
    hubs.delete(signal)
    for (const callback of [...hub]) callback()
  }
  signal.addEventListener('abort', fire, { once: true })
  stops.set(hub, () => signal.removeEventListener('abort', fire))
}

/** The work's outcome, or the signal's reason if it fires first. The work goes on: it is not the caller's to stop. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error) // by the work itself, before its first wait: the signal does not fire again
    const stop = onAbort(signal, () => reject(signal.reason as Error))
    work.then(resolve, reject).finally(stop)
  })
}

