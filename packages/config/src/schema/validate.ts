import type { ErrorObject, ValidateFunction } from 'ajv'
import { translate, type Translated } from '../problems/translate.js'
import type { Path } from '../problems/path.js'
import type { JsonSchema } from './json-schema.js'
import { foreignAjv, ownAjv } from './keywords.js'

export interface Validation {
  /** Where `value` stands in the document. */
  readonly at: Path
  /** The environment variables in a field. */
  readonly variables: (path: Path) => readonly string[]
}

const compiled = new WeakMap<JsonSchema, ValidateFunction>()

/** What one of our own schemas finds wrong. */
export function validateOwn(value: unknown, schema: JsonSchema, where: Validation): readonly Translated[] {
  const validate = compiled.get(schema) ?? ownAjv().compile(schema)
  compiled.set(schema, validate)
  return run(validate, value, where)
}

/**
 * What a third party's schema finds wrong.
 *
 * @throws Error when the schema itself is no JSON Schema
 */
export function validateForeign(value: unknown, schema: JsonSchema, where: Validation): readonly Translated[] {
  return run(foreignAjv(schema).compile(schema), value, where)
}

function run(validate: ValidateFunction, value: unknown, { at, variables }: Validation): readonly Translated[] {
  if (validate(value)) return []
  const errors = validate.errors ?? []
  return errors.flatMap((error) => (isBranch(error, errors) ? [] : (translate(error, at, value, variables) ?? [])))
}

/** Whether the error is about one of several allowed forms: that none of them fits says it better. */
function isBranch(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  return all.some((other) => (other.keyword === 'anyOf' || other.keyword === 'oneOf') && other !== error && error.schemaPath.startsWith(`${other.schemaPath}/`))
}
