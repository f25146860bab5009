/** What the environment holds. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A scalar after its variables were put in. */
export interface Substituted {
  readonly text: string
  /** The variables in it, in order. Empty: there were none. */
  readonly variables: readonly string[]
  /** What is wrong, in words, each once; the text is of no use then. */
  readonly problems: readonly string[]
}

const INSIDE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/
const MALFORMED = 'expected `${NAME}` or `${NAME:-default}` after `${` (a default holds no variable); write `$${` for a literal `${`'

/**
 * Puts environment variables into one parsed scalar: `${NAME}`, and `${NAME:-default}` for a variable that is not set or
 * empty. `$${` stands for `${` itself. What was put in is not looked at again.
 */
export function substitute(written: string, env: Environment): Substituted {
  if (!written.includes('${')) return { text: written, variables: [], problems: [] }
  const variables: string[] = []
  const problems = new Set<string>()
  const parts: string[] = []
  let done = 0
  // beyond the last `}` no variable ends: looking for one from each `${` would take the square of the text
  const lastEnd = written.lastIndexOf('}')
  for (let start = written.indexOf('${'); start !== -1; start = written.indexOf('${', done)) {
    const isLiteral = start > done && written[start - 1] === '$'
    parts.push(written.slice(done, isLiteral ? start - 1 : start))
    const end = start < lastEnd ? written.indexOf('}', start) : -1
    done = isLiteral || end === -1 ? start + 2 : end + 1
    if (isLiteral) parts.push('${')
    else parts.push(valueOf(end === -1 ? undefined : written.slice(start + 2, end), env, variables, problems))
  }
  parts.push(written.slice(done))
  return { text: parts.join(''), variables, problems: [...problems] }
}

/** What stands for a variable and its default; what is wrong with it goes to `problems`. */
function valueOf(inside: string | undefined, env: Environment, variables: string[], problems: Set<string>): string {
  const [, name, byDefault] = INSIDE.exec(inside ?? '') ?? []
  if (name === undefined || byDefault?.includes('${') === true) {
    problems.add(MALFORMED)
    return ''
  }
  variables.push(name)
  const value: unknown = Object.hasOwn(env, name) ? env[name] : undefined
  if (value !== undefined && typeof value !== 'string') {
    problems.add(`the environment variable ${name} is no text but a ${typeof value}`)
    return ''
  }
  if (byDefault !== undefined) return value === undefined || value === '' ? byDefault : value
  if (value === undefined) problems.add(`the environment variable ${name} is not set; set it, or give a default: \${${name}:-value}`)
  return value ?? ''
}

/** The scalar that {@link substitute} leaves as it is. */
export function literally(text: string): string {
  return text.replaceAll('${', () => '$${') // as a function, because `$$` in replacement text means `$`
}
