import type { ErrorObject, ValidateFunction } from 'ajv'
import { translate, type Translated } from '../problems/translate.js'
import type { Written } from '../problems/found.js'
import type { Path } from '../problems/path.js'
import type { JsonSchema } from './json-schema.js'
import { foreignAjv, ownAjv } from './keywords.js'

export interface Validation {
  /** Where `value` stands in the document. */
  readonly at: Path
  readonly written: Written
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

function run(validate: ValidateFunction, value: unknown, { at, written }: Validation): readonly Translated[] {
  if (validate(value)) return []
  const errors = validate.errors ?? []
  const forms = errors.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf')
  return errors.flatMap((error) => (isBranch(error, forms) ? [] : (translate(error, at, value, written) ?? [])))
}

/** Whether the error is about one of several allowed forms: that none of them fits says it better. */
function isBranch(error: ErrorObject, forms: readonly ErrorObject[]): boolean {
  return forms.some((other) => other !== error && error.schemaPath.startsWith(`${other.schemaPath}/`))
}
