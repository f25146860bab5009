import type { JsonSchema } from './json-schema.js'

/** The kinds of fields that configurations are made of. */

export function text(description: string, more: JsonSchema = {}): JsonSchema {
  return { type: 'string', minLength: 1, description, ...more }
}

/** The path of a file or a directory. */
export function filePath(description: string, more: JsonSchema = {}): JsonSchema {
  return text(description, { isPath: true, ...more })
}

export function flag(description: string, byDefault?: boolean): JsonSchema {
  return { type: 'boolean', description, ...(byDefault === undefined ? {} : { default: byDefault }) }
}

export function wholeNumber(description: string, minimum: number, more: JsonSchema = {}): JsonSchema {
  return { type: 'integer', minimum, description, ...more }
}

export function choice(description: string, values: readonly string[], byDefault?: string): JsonSchema {
  return { type: 'string', enum: values, description, ...(byDefault === undefined ? {} : { default: byDefault }) }
}

export function list(description: string, items: JsonSchema): JsonSchema {
  return { type: 'array', minItems: 1, items, description }
}

export function map(description: string, properties: Readonly<Record<string, JsonSchema>>, more: JsonSchema = {}): JsonSchema {
  return { type: 'object', description, properties, additionalProperties: false, ...more }
}

const SECONDS_OR_TEXT = "a number of seconds, or text with a unit such as '250ms', '15m' or '30d'"

/** A time to live. */
export function ttl(description: string, more: JsonSchema = {}): JsonSchema {
  return { type: ['number', 'string', 'null'], duration: 'ttl', expected: `${SECONDS_OR_TEXT}, or null for ever`, description, ...more }
}

/** A length of time; zero switches off what it is for. */
export function duration(description: string, more: JsonSchema = {}): JsonSchema {
  return { type: ['number', 'string'], duration: 'duration', expected: SECONDS_OR_TEXT, description, ...more }
}

/** A length of time longer than zero. */
export function interval(description: string, more: JsonSchema = {}): JsonSchema {
  return { type: ['number', 'string'], duration: 'interval', expected: `${SECONDS_OR_TEXT}, longer than zero`, description, ...more }
}

/** A size in bytes, at least `least` of them. */
export function size(description: string, least = 1, more: JsonSchema = {}): JsonSchema {
  const atLeast = least > 1 ? `, at least ${least} bytes` : ''
  return { type: ['integer', 'string'], bytes: least, expected: `a whole number of bytes, or text with a unit such as '512mb' or '10gb'${atLeast}`, description, ...more }
}
