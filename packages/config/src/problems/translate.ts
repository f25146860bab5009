import type { ErrorObject } from 'ajv'
import { isRecord, typesOf, type JsonSchema } from '../schema/json-schema.js'
import { isOwnKeyword, propertyNames } from '../schema/keywords.js'
import { found, type Written } from './found.js'
import { didYouMean, nearMiss, normal } from './near-miss.js'
import { shownKey, type Path } from './path.js'

/** Bounds that a schema's own words already tell. */
const BOUNDS: ReadonlySet<string> = new Set(['minimum', 'maximum', 'minLength'])

/** A problem as the validator sees it, in the words of a configuration. */
export interface Translated {
  readonly path: Path
  readonly message: string
  readonly suggestion?: string | undefined
}

/**
 * Puts a validator's error in words.
 *
 * @param at the path of what was validated
 * @param root what was validated
 * @param written what is known of its fields
 * @returns `undefined` for an error that only repeats another
 */
export function translate(error: ErrorObject, at: Path, root: unknown, written: Written): Translated | undefined {
  const path = [...at, ...pathIn(root, error.instancePath)]
  const schema: JsonSchema = isRecord(error.parentSchema) ? error.parentSchema : {}
  const params = error.params as Readonly<Record<string, unknown>>
  switch (error.keyword) {
    case 'if':
      return undefined // what `then` asks for is an error of its own
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return unknownKey([...path, String(params['additionalProperty'] ?? params['unevaluatedProperty'])], propertyNames(schema), written)
    case 'required': {
      const missing = String(params['missingProperty'])
      const wanted = isRecord(schema['properties']) ? schema['properties'][missing] : undefined
      return { path: [...path, missing], message: `is missing: expected ${expected(isRecord(wanted) ? wanted : {}) ?? 'a value'}` }
    }
    case 'exclusive': {
      const names = (error.schema as readonly string[]).filter((name) => isRecord(error.data) && Object.hasOwn(error.data, name))
      return { path, message: `${names.map((name) => `\`${name}\``).join(' and ')} exclude each other: give one of them` }
    }
    case 'anyOf':
    case 'oneOf':
      return { path, message: `expected ${expected(schema) ?? 'one of the forms that the adapter describes'}, found ${found(error.data, path, written)}` }
    case 'type':
      return { path, message: `expected ${expected(schema) ?? wordsFor(error.schema)}, found ${found(error.data, path, written)}` }
    case 'enum':
    case 'const':
      return wrongChoice(error, path, schema, written)
    default: {
      const wanted = expected(schema)
      if (isOwnKeyword(error.keyword) || typeof schema['expected'] === 'string' || (wanted !== undefined && BOUNDS.has(error.keyword))) {
        return { path, message: `expected ${wanted ?? 'another value'}, found ${found(error.data, path, written)}` }
      }
      return { path, message: `${error.message ?? 'does not fit the schema'}; found ${found(error.data, path, written)}` }
    }
  }
}

/** The problem of a key that nothing takes there. */
export function unknownKey(path: Path, known: readonly string[], { belongs }: Pick<Written, 'belongs'>): Translated {
  const key = String(path.at(-1))
  if (key === 'tiers' && path.at(-3) === 'policies') return { path, message: 'unknown key; in a file, tiers stand in the policy itself, beside `ttl`', suggestion: undefined }
  const otherSpelling = known.find((one) => one !== key && normal(one) === normal(key))
  const place = otherSpelling === undefined ? belongs(path) : undefined
  if (place !== undefined) return { path, message: `unknown key here; ${place}`, suggestion: undefined }
  const suggestion = otherSpelling ?? nearMiss(key, known)
  const rest = known.length === 0 ? '' : `; expected ${oneOf(known)}`
  return { path, message: `unknown key${suggestion === undefined ? rest : didYouMean(suggestion)}`, suggestion }
}

/** "a", "a or b", "one of a, b, c". */
export function oneOf(values: readonly unknown[]): string {
  const written = values.map((value) => `\`${typeof value === 'string' ? shownKey(value) : JSON.stringify(value)}\``)
  if (written.length > 2) return `one of ${written.join(', ')}`
  return written.join(' or ')
}

function wrongChoice(error: ErrorObject, path: Path, schema: JsonSchema, written: Written): Translated | undefined {
  const choices = error.keyword === 'enum' && Array.isArray(error.schema) ? (error.schema as readonly unknown[]) : [error.schema]
  const types = typesOf(schema)
  if (types.length > 0 && !types.includes(typeof error.data)) return undefined // its type is an error of its own
  const suggestion = typeof error.data === 'string' ? nearMiss(error.data, choices.filter((choice) => typeof choice === 'string')) : undefined
  const wanted = typeof schema['expected'] === 'string' ? schema['expected'] : oneOf(choices)
  return { path, message: `expected ${wanted}, found ${found(error.data, path, written)}${didYouMean(suggestion)}`, suggestion }
}

function expected(schema: JsonSchema): string | undefined {
  if (typeof schema['expected'] === 'string') return schema['expected']
  if (Array.isArray(schema['enum'])) return oneOf(schema['enum'])
  const types = typesOf(schema)
  if (types.length === 0) return undefined
  const { minimum, maximum } = schema
  if (typeof minimum !== 'number') return wordsFor(types)
  return `${wordsFor(types)} ${typeof maximum === 'number' ? `from ${minimum} to ${maximum}` : `of at least ${minimum}`}`
}

const WORDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  array: 'a list',
  null: 'null',
}

function wordsFor(types: unknown): string {
  const all = Array.isArray(types) ? types : [types]
  return all.map((type) => WORDS[String(type)] ?? String(type)).join(' or ')
}

/** The parts of a JSON pointer; a number where it indexes a list. */
function pathIn(root: unknown, pointer: string): Path {
  let here = root
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      const inList = Array.isArray(here)
      here = typeof here === 'object' && here !== null ? (here as Record<string, unknown>)[key] : undefined
      return inList ? Number(key) : key
    })
}
