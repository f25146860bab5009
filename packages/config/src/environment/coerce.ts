const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['off', false],
  ['0', false],
])

/** True or false as people write it into the environment: true, yes, on, 1 and their opposites. */
export function booleanOf(text: string): boolean | undefined {
  return BOOLEANS.get(text.trim().toLowerCase())
}

/** The number that a text is; `undefined` when it is none, or too large for one, so that it never becomes Infinity. */
export function numberOf(text: string): number | undefined {
  const number = NUMBER.test(text.trim()) ? Number(text) : Number.NaN
  return Number.isFinite(number) ? number : undefined
}

/**
 * Turns text from the environment into the type its field has. A field of several types takes the first that fits, of
 * null, number, boolean and text. What fits none stays text, which the validation then reports.
 */
export function coerce(text: string, types: ReadonlySet<string>): unknown {
  if (types.has('null') && /^(null|~)$/i.test(text.trim())) return null
  const number = types.has('number') || types.has('integer') ? numberOf(text) : undefined
  return number ?? (types.has('boolean') ? booleanOf(text) : undefined) ?? text
}
