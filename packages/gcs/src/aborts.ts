/** One listener for each signal, however many requests wait on it: the eleventh on one signal would make Node print a warning. */
const listening = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls back when the signal is aborted, once. Returns what ends that. The signal is guaranteed not to be aborted yet. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return nothing
  const known = listening.get(signal)
  const callbacks = known ?? new Set()
  callbacks.add(callback)
  if (known === undefined) {
    listening.set(signal, callbacks)
    signal.addEventListener('abort', aborted, { once: true })
  }
  return () => {
    callbacks.delete(callback)
    if (callbacks.size > 0 || listening.get(signal) !== callbacks) return
    listening.delete(signal)
    signal.removeEventListener('abort', aborted)
  }
}

/** The promise's result, or a rejection with the signal's reason, whichever is first. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  if (signal.aborted) {
    promise.catch(nothing)
    return Promise.reject(signal.reason as Error)
  }
  return new Promise((resolve, reject) => {
    const leave = onAbort(signal, () => reject(signal.reason as Error))
    promise.then(
      (value) => {
        leave()
        resolve(value)
      },
      (error: unknown) => {
        leave()
        reject(error)
      },
    )
  })
}

function aborted(this: AbortSignal): void {
  const callbacks = listening.get(this)
  listening.delete(this)
  for (const callback of callbacks ?? []) callback()
}

function nothing(): void {
  // nobody to tell
}
