/** Runs a task for each item, at most `width` at a time, and waits for all of them. What fails is returned, in no particular order. */
export async function forEachOf<T>(items: readonly T[], width: number, task: (item: T) => Promise<unknown>): Promise<unknown[]> {
  const failures: unknown[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next++] as T
      try {
        await task(item)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work))
  return failures
}
