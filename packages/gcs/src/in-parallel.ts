/** Does the work for each item, at most so many at once, and waits for all. What fails is returned, in no particular order. */
export async function failuresOf<T>(items: readonly T[], most: number, work: (item: T) => Promise<unknown>): Promise<readonly unknown[]> {
  const failures: unknown[] = []
  let next = 0
  const workOn = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next++] as T
      try {
        await work(item)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, workOn))
  return failures
}
