/** After so many uses within one turn the value is read again: a loop that never yields still sees it change. */
const USES = 256
/** With fewer uses in a turn it is cheaper to read each time: noticing the turn's end costs as much as some twenty readings. */
const WORTH_KEEPING = 8
/** How often it is read then, before a turn is tried again. */
const READINGS = 64

/**
 * Remembers what `read` returns until this turn of the event loop ends, for values that change slowly and are asked for on
 * the hot path: the time (35 ns to read), whether OpenTelemetry is there (10 ns).
 *
 * @param mayKeep asked after each reading that may be kept; `false`: the value is read again next time (a clock that a test replaced)
 */
export function oncePerTurn<T>(read: () => T, mayKeep: () => boolean = () => true): () => T {
  let kept: T
  let uses = 0
  let readings = 0
  let wasRenewed = false
  let forgetting = false
  const forget = (): void => {
    if (!wasRenewed && uses > USES - WORTH_KEEPING) readings = READINGS
    uses = 0
    forgetting = false
  }
  const renew = (): T => {
    if (readings > 0) {
      readings--
      return read()
    }
    kept = read()
    if (mayKeep()) {
      uses = USES
      wasRenewed = forgetting
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
