import { positiveDurationMs, ttlMs, type Duration, type Ttl } from '@thermocline/backend'
import { kindOf } from '../options.js'
import type { ProblemList } from '../problems/problem-list.js'
import { bytesOf } from '../schema/size.js'
import { booleanOf, numberOf } from './coerce.js'
import type { Environment } from './substitute.js'

/** Reads variables as what they are to be. One that cannot be used is a problem, told without its value. */
export class EnvironmentReader {
  readonly #env: Environment
  readonly #problems: ProblemList

  constructor(env: Environment, problems: ProblemList) {
    this.#env = env
    this.#problems = problems
  }

  text(name: string): string | undefined {
    const value = this.secret(name)?.trim()
    return value === '' ? undefined : value
  }

  /** As it stands, with the blanks around it. */
  secret(name: string): string | undefined {
    const value: unknown = Object.hasOwn(this.#env, name) ? this.#env[name] : undefined
    if (value !== undefined && typeof value !== 'string') throw new TypeError(`the environment variable ${name} must be text, not ${kindOf(value)}`)
    return value === '' ? undefined : value
  }

  flag(name: string): boolean | undefined {
    return this.#read(name, 'true or false', booleanOf)
  }

  wholeNumber(name: string, least: number): number | undefined {
    return this.#read(name, `a whole number of at least ${least}`, (text) => within(numberOf(text), least, Number.MAX_SAFE_INTEGER))
  }

  /** Kubernetes sets `REDIS_PORT` to `tcp://10.0.0.11:6379` for a service named redis; the port in it is the one that is meant. */
  port(name: string): number | undefined {
    return this.#read(name, 'a port', (text) => within(numberOf(/^tcp:\/\/.*:(\d+)$/.exec(text)?.[1] ?? text), 1, 65_535))
  }

  redisUrl(name: string): string | undefined {
    return this.#read(name, 'an address such as redis://localhost:6379', (text) => (/^rediss?:\/\//.test(text) ? text : undefined))
  }

  size(name: string): number | undefined {
    return this.#read(name, "a whole number of bytes, or text with a unit such as '512mb'", (text) => within(bytesOf(numberOf(text) ?? text), 1, Number.MAX_SAFE_INTEGER))
  }

  duration(name: string): Duration | undefined {
    return this.#read(name, "a number of seconds, or text with a unit such as '250ms'", (text) => checked(numberOf(text) ?? text, (value) => positiveDurationMs(value, name)))
  }

  /** The first of some variables that is set. */
  ttl(...names: readonly string[]): Ttl | undefined {
    const name = names.find((one) => this.text(one) !== undefined)
    if (name === undefined || this.text(name)?.toLowerCase() === 'null') return name === undefined ? undefined : null
    return this.#read(name, "a number of seconds, text with a unit such as '15m', or null for ever", (text) => checked(numberOf(text) ?? text, (value) => ttlMs(value, name)))
  }

  #read<T>(name: string, expected: string, convert: (text: string) => T | undefined): T | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = convert(text)
    if (value === undefined) this.#problems.add([name], `expected ${expected}, found other text`)
    return value
  }
}

function within(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && Number.isInteger(value) && value >= least && value <= most ? value : undefined
}

function checked<T>(value: T, milliseconds: (value: T) => number | undefined): T | undefined {
  try {
    return Number.isFinite(milliseconds(value)) ? value : undefined
  } catch {
    return undefined
  }
}
