import { didYouMean, nearMiss } from './problems/near-miss.js'
import { oneOf } from './problems/translate.js'
import { isRecord } from './schema/json-schema.js'

/** What an option has to be, in words, and whether something is that. */
export interface OptionKind {
  readonly expected: string
  readonly is: (value: unknown) => boolean
}

export const KINDS = {
  text: { expected: 'text', is: (value: unknown) => typeof value === 'string' },
  object: { expected: 'an object', is: isRecord },
  list: { expected: 'a list', is: Array.isArray },
  any: { expected: 'anything', is: () => true },
} as const satisfies Readonly<Record<string, OptionKind>>

/** What `parseConfig` and `loadCache` both take. */
export const READING_OPTIONS = { env: KINDS.object, codecs: KINDS.list } as const

/**
 * Checks the options of a call. A misspelled one would otherwise be as if it were not given.
 *
 * @param call as it is written, for the message
 * @throws TypeError for anything but an object, for an option that the call does not take, and for one of the wrong type
 */
export function checkOptions(call: string, options: unknown, known: Readonly<Record<string, OptionKind>>): void {
  if (!isRecord(options)) throw new TypeError(`${call}: options must be an object with ${oneOf(Object.keys(known))}, not ${kindOf(options)}`)
  for (const [name, value] of Object.entries(options)) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined
    if (kind === undefined) {
      const suggestion = nearMiss(name, Object.keys(known))
      throw new TypeError(`${call}: unknown option \`${name}\`${suggestion === undefined ? `; expected ${oneOf(Object.keys(known))}` : didYouMean(suggestion)}`)
    }
    if (value !== undefined && !kind.is(value)) throw new TypeError(`${call}: ${name} must be ${kind.expected}, not ${kindOf(value)}`)
  }
}

/** Checks an environment that was given instead of `process.env`. */
export function checkEnvironment(call: string, env: unknown): void {
  if (!isRecord(env)) throw new TypeError(`${call}: the environment must be an object of texts, such as process.env, not ${kindOf(env)}`)
  if (isRecord(env['env'])) throw new TypeError(`${call}: give the environment itself, not options with \`env\` in it`)
}

/** Names what something is, never its value. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value !== 'object') return value === undefined ? 'undefined' : `a ${typeof value}`
  const prototype: unknown = Object.getPrototypeOf(value)
  const { name } = (prototype === null ? Object : (value as { constructor?: { name?: unknown } }).constructor) ?? {}
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object'
}

/** Whether something is an object as a configuration is one: plain, or a list, which is told apart later. */
export function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  // of another realm, as in tests that run in a context of their own, Object is another one
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
