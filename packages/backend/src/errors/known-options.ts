/** A name that is longer, or has other characters, is not repeated in messages: it may be anything. */
const PLAIN_NAME = /^[\w$.-]{1,40}$/

/**
 * Throws for the first option that nobody would read: a misspelled name would otherwise be left out without a word. An own property counts
 * whatever its value is, `undefined` too; what is inherited, or named by a symbol, does not.
 *
 * @param known the names there are
 * @param what the object as the user knows it, to begin a message with: `new RedisBackend(options)`, `cluster[0]`
 * @throws TypeError that names the option, and the known one nearest to it or else all of them
 */
export function checkKnown(given: object, known: readonly string[], what: string): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const nearest = nearestName(name, known)
    const hint = nearest === undefined ? `it knows ${known.join(', ')}` : `did you mean ${nearest}?`
    throw new TypeError(`${what} does not know ${PLAIN_NAME.test(name) ? `the option ${name}` : `an option of ${name.length} characters`}; ${hint}`)
  }
}

/** The candidate that was probably meant: case, `_`, `-` and the order of letters aside, a third of its letters may differ, one at least. */
function nearestName(name: string, candidates: readonly string[]): string | undefined {
  if (!PLAIN_NAME.test(name)) return undefined
  const letters = lettersOf(name)
  let nearest: string | undefined
  let nearestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const wanted = lettersOf(candidate)
    const away = sorted(letters) === sorted(wanted) ? Math.min(1, distance(letters, wanted)) : distance(letters, wanted)
    if (away > Math.max(1, Math.floor(wanted.length / 3)) || away >= nearestDistance) continue
    nearest = candidate
    nearestDistance = away
  }
  return nearest
}

function lettersOf(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, '')
}

function sorted(letters: string): string {
  return Array.from(letters).sort().join('')
}

/** How many letters have to be put in, left out, replaced or swapped with the next (optimal string alignment). */
function distance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = at(last, j - 1) + (from[i - 1] === to[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1] ? at(beforeLast, j - 2) + 1 : replaced
      row.push(Math.min(replaced, swapped, at(last, j) + 1, at(row, j - 1) + 1))
    }
    beforeLast = last
    last = row
  }
  return at(last, to.length)
}

function at(row: readonly number[], place: number): number {
  return row[place] as number
}
