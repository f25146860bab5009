/** How many keys of a many-verb are on their way at once. */
const WINDOW = 256

/** Runs over the items, a window at a time: thousands of simultaneous operations would wait for each other past their budgets. */
export async function inWindows<I, O>(items: readonly I[], run: (item: I) => Promise<O>): Promise<O[]> {
  const results: O[] = []
  for (let at = 0; at < items.length; at += WINDOW) results.push(...(await Promise.all(items.slice(at, at + WINDOW).map(run))))
  return results
}

/** As {@link inWindows}; a failure does not keep the others from being tried. One rejects as it is, several together. */
export async function allInWindows<I, O>(verb: string, items: readonly I[], run: (item: I) => Promise<O>): Promise<(O | undefined)[]> {
  const failures: unknown[] = []
  const results = await inWindows(items, (item) =>
    run(item).catch((error: unknown) => {
      failures.push(error)
      return undefined
    }),
  )
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1) throw new AggregateError(failures, `${verb} failed for ${failures.length} of ${items.length}`)
  return results
}
