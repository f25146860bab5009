import { ProblemList } from '../problems/problem-list.js'
import type { Path } from '../problems/path.js'
import { isRecord } from '../schema/json-schema.js'
import type { Source } from './document.js'

/**
 * Copies a configuration that was given as an object. A property that is `undefined` is absent.
 *
 * @throws ConfigError for an object that contains itself
 */
export function readObject(given: object): Source {
  const problems = new ProblemList({})
  const tree = copy(given, [], [], problems)
  problems.throwIfAny()
  return { tree, problems }
}

function copy(value: unknown, path: Path, around: readonly unknown[], problems: ProblemList): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (around.includes(value)) {
    problems.add(path, 'contains itself')
    return undefined
  }
  const inside = [...around, value]
  if (Array.isArray(value)) return value.map((item, index) => copy(item, [...path, index], inside, problems))
  if (!isRecord(value)) return value
  const present = Object.entries(value).filter(([, property]) => property !== undefined)
  return Object.fromEntries(present.map(([key, property]) => [key, copy(property, [...path, key], inside, problems)]))
}
