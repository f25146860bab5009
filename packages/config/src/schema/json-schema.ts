/**
 * A JSON Schema. Ours use a few keywords more, which the published schema spells out in standard ones:
 *
 * - `duration`: `'ttl'`, `'duration'` or `'interval'` (longer than zero), checked by core's own functions
 * - `bytes`: a size as a number of bytes or as text such as `'10gb'`; the keyword's value is the least number of bytes
 * - `exclusive`: names of properties of which at most one may be given
 * - `isPath`: text that is a path of the machine, in which a leading `~` is the home directory
 * - `expected`: what the field takes, in words for a message
 */
export type JsonSchema = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The types a schema allows; empty where it does not say. */
export function typesOf(schema: JsonSchema): readonly string[] {
  const { type } = schema
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) return type.filter((one) => typeof one === 'string')
  const values = Array.isArray(schema['enum']) ? schema['enum'] : 'const' in schema ? [schema['const']] : []
  return [...new Set(values.map((value) => (value === null ? 'null' : typeof value)))]
}
