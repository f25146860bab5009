import { ProblemList } from '../problems/problem-list.js'
import type { Path } from '../problems/path.js'
import { isRecord } from '../schema/json-schema.js'
import type { Source } from './document.js'
import { LIMITS, TOO_DEEP, TOO_MANY } from './limits.js'

/**
 * Copies a configuration that was given as an object. A property that is `undefined` is absent.
 *
 * @throws ConfigError for an object that contains itself, or has too much in it
 */
export function readObject(given: object): Source {
  const problems = new ProblemList({})
  const tree = new Copy(problems).of(given, [])
  problems.throwIfAny()
  return { tree, problems, sourceAt: () => undefined }
}

class Copy {
  readonly #problems: ProblemList
  readonly #around = new Set<object>()
  /** What stands in two places counts twice. */
  #values = 0

  constructor(problems: ProblemList) {
    this.#problems = problems
  }

  of(value: unknown, path: Path): unknown {
    if (this.#values > LIMITS.values) return undefined
    if (++this.#values > LIMITS.values) return this.#refuse(path, TOO_MANY)
    if (typeof value !== 'object' || value === null) return value
    if (this.#around.has(value)) return this.#refuse(path, 'contains itself')
    if (path.length >= LIMITS.depth) return this.#refuse(path, TOO_DEEP)
    this.#around.add(value)
    const copied = Array.isArray(value) ? value.map((item, index) => this.of(item, [...path, index])) : isRecord(value) ? this.#properties(value, path) : value
    this.#around.delete(value)
    return copied
  }

  #properties(value: Readonly<Record<string, unknown>>, path: Path): unknown {
    const present = Object.entries(value).filter(([, property]) => property !== undefined)
    return Object.fromEntries(present.map(([key, property]) => [key, this.of(property, [...path, key])]))
  }

  #refuse(path: Path, message: string): undefined {
    this.#problems.add(path, message)
    return undefined
  }
}
