/** After so many uses within one turn the value is read again: a loop that never yields still sees it change. */
const USES = 256

/**
 * Remembers what `read` returns until this turn of the event loop ends, for values that change slowly and are asked for on
 * the hot path: the time (35 ns to read), whether OpenTelemetry is there (10 ns).
 *
 * @param mayKeep asked after each reading; `false`: the value is read again next time (a clock that a test replaced)
 */
export function oncePerTurn<T>(read: () => T, mayKeep: () => boolean = () => true): () => T {
  let kept: T
  let uses = 0
  let forgetting = false
  const forget = (): void => {
    uses = 0
    forgetting = false
  }
  const renew = (): T => {
    kept = read()
    if (mayKeep()) {
      uses = USES
      if (!forgetting) {
        forgetting = true
        setImmediate(forget) // not unref'd: an idle loop would sleep before running it, and the value would outlive the turn
      }
    }
    return kept
  }
  return () => {
    if (uses === 0) return renew()
    uses--
    return kept
  }
}
