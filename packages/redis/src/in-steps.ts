/**
 * Yields at each progress of some work, and returns what comes of it. The steps of a listing each have the budget to themselves, and what
 * it does before the first page has several, too.
 */
export async function* inSteps<T>(work: (progress: () => void) => Promise<T>): AsyncGenerator<void, T> {
  let hasMoved = false
  let isDone = false
  let wake = (): void => undefined
  const working = work(() => {
    hasMoved = true
    wake()
  }).finally(() => {
    isDone = true
    wake()
  })
  working.catch(() => undefined) // told below, unless nobody reads on
  while (!isDone) {
    if (!hasMoved) await new Promise<void>((resolve) => (wake = resolve))
    if (hasMoved) {
      hasMoved = false
      yield
    }
  }
  return working
}
