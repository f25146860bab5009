/**
 * What a configuration may be. People write a few hundred lines; what is far beyond is an accident or an attack, and would
 * take seconds of one processor and much memory before anything is known about it.
 */
export const LIMITS = {
  /** Of a text. */
  bytes: 2 * 1024 ** 2,
  /** Pieces that the lexer finds in a text. */
  lexemes: 500_000,
  /** Values, each alias counted as what it stands for. */
  values: 200_000,
  /** Maps and lists within each other. */
  depth: 64,
} as const

export const TOO_LARGE = `is too large: a configuration has at most ${LIMITS.bytes / 1024 ** 2} MiB`
export const TOO_MANY = `has too many values: a configuration has at most ${LIMITS.values}, with each alias counted as what it stands for`
export const TOO_DEEP = `is nested too deeply: a configuration has at most ${LIMITS.depth} maps and lists within each other`
