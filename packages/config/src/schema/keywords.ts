import { durationMs, positiveDurationMs, ttlMs, type Ttl } from '@thermocline/backend'
import { Ajv, type Options } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { isRecord, type JsonSchema } from './json-schema.js'
import { bytesOf } from './size.js'

const OPTIONS: Options = { allErrors: true, verbose: true, strict: false, validateFormats: false, logger: false }

/** What checks our own schemas: JSON Schema and the keywords that {@link JsonSchema} names. */
export function ownAjv(): Ajv {
  const ajv = new Ajv(OPTIONS)
  ajv.addKeyword({ keyword: 'duration', type: ['number', 'string'], validate: (kind: string, value: Ttl) => isDuration(kind, value) })
  ajv.addKeyword({ keyword: 'bytes', type: ['number', 'string'], validate: (least: number, value: unknown) => (bytesOf(value) ?? -1) >= least })
  ajv.addKeyword({ keyword: 'exclusive', type: 'object', validate: (names: readonly string[], value: object) => names.filter((name) => Object.hasOwn(value, name)).length < 2 })
  return ajv
}

/** What checks a third party's schema, in the draft it was written in. */
export function foreignAjv(schema: JsonSchema): Ajv | Ajv2020 {
  const { $schema } = schema
  return typeof $schema === 'string' && $schema.includes('2020-12') ? new Ajv2020(OPTIONS) : new Ajv(OPTIONS)
}

/** Whether our own check is one that standard JSON Schema lacks. */
export function isOwnKeyword(keyword: string): boolean {
  return keyword === 'duration' || keyword === 'bytes'
}

function isDuration(kind: string, value: Ttl): boolean {
  try {
    if (value === null) return true
    // what is too large for a number must not come to mean for ever
    return Number.isFinite(kind === 'ttl' ? ttlMs(value, '') : (kind === 'interval' ? positiveDurationMs : durationMs)(value, ''))
  } catch {
    return false
  }
}

/** The properties a schema names, where it names any. */
export function propertyNames(schema: unknown): readonly string[] {
  return isRecord(schema) && isRecord(schema['properties']) ? Object.keys(schema['properties']) : []
}
