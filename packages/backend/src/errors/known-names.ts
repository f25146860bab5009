import { kindOf } from './describe.js'
import { checkKnown } from './known-options.js'

/** The options that a verb or a part of the manager's options has. */
export class KnownNames {
  readonly names: readonly string[]
  readonly #set: ReadonlySet<string>

  constructor(names: readonly string[]) {
    this.names = names
    this.#set = new Set(names)
  }

  /**
   * Throws for options that are no object, and for a name that nobody would read. Each name costs one look into a set.
   *
   * @param what where the options stand, to begin a message with: `get(key, options)`, `telemetry`
   * @throws TypeError that names the option, `what`, and the known name nearest to it
   */
  check(given: object, what: string): void {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError(`${what}: options must be an object, not ${kindOf(given)}`)
    for (const name in given) {
      if (!this.#set.has(name)) return checkKnown(given, this.names, what) // not what is inherited
    }
  }
}

/** Throws where a call is given more than it takes: what is left out without a word may be what mattered. */
export function checkNothing(given: unknown, what: string): void {
  if (given !== undefined) throw new TypeError(`${what}, and was given ${kindOf(given)} besides`)
}
