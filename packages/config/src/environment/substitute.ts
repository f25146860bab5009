/** What the environment holds. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A scalar after its variables were put in. */
export interface Substituted {
  readonly text: string
  /** The variables in it, in order. Empty: there were none. */
  readonly variables: readonly string[]
  /** What is wrong, in words; the text is of no use then. */
  readonly problems: readonly string[]
}

const VARIABLE = /\$\$\{|\$\{([^}]*)\}|\$\{/g
const INSIDE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/

/**
 * Puts environment variables into one parsed scalar: `${NAME}`, and `${NAME:-default}` for a variable that is not set or
 * empty. `$${` stands for `${` itself. What was put in is not looked at again.
 */
export function substitute(written: string, env: Environment): Substituted {
  if (!written.includes('${')) return { text: written, variables: [], problems: [] }
  const variables: string[] = []
  const problems: string[] = []
  const text = written.replace(VARIABLE, (match: string, inside: string | undefined) => {
    if (match === '$${') return '${'
    const [, name, byDefault] = INSIDE.exec(inside ?? '') ?? []
    if (name === undefined || byDefault?.includes('${') === true) {
      problems.push('expected `${NAME}` or `${NAME:-default}` after `${` (a default holds no variable); write `$${` for a literal `${`')
      return ''
    }
    variables.push(name)
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (byDefault !== undefined) return value === undefined || value === '' ? byDefault : value
    if (value === undefined) problems.push(`the environment variable ${name} is not set; set it, or give a default: \${${name}:-value}`)
    return value ?? ''
  })
  return { text, variables, problems }
}

/** The scalar that {@link substitute} leaves as it is. */
export function literally(text: string): string {
  return text.replaceAll('${', () => '$${') // as a function, because `$$` in replacement text means `$`
}
