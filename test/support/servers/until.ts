export interface Patience {
  readonly withinMs?: number
  readonly everyMs?: number
}

/** Asks again and again, in real time, until the answer is neither false nor undefined. A throw counts as not yet. */
export async function until<T>(what: string, ask: () => T | Promise<T>, { withinMs = 10_000, everyMs = 10 }: Patience = {}): Promise<Exclude<T, false | undefined>> {
  const giveUpAt = performance.now() + withinMs
  let cause: unknown
  do {
    try {
      const answer = await ask()
      if (answer !== false && answer !== undefined) return answer as Exclude<T, false | undefined>
    } catch (error) {
      cause = error
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  } while (performance.now() < giveUpAt)
  throw new Error(`not within ${withinMs} ms: ${what}`, { cause })
}
