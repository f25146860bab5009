import { isRecord, typesOf, type JsonSchema } from '../schema/json-schema.js'

/** A place in a schema: everything that may hold there, whichever branch applies. */
export type SchemaPlace = readonly JsonSchema[]

const BRANCHES = ['allOf', 'anyOf', 'oneOf'] as const
const CONDITIONAL = ['then', 'else'] as const

/** The place of a schema's root. */
export function placeOf(schema: unknown, root: JsonSchema, seen: ReadonlySet<unknown> = new Set()): SchemaPlace {
  if (!isRecord(schema) || seen.has(schema)) return []
  const around = new Set([...seen, schema])
  const inside = [
    ...BRANCHES.flatMap((keyword) => (Array.isArray(schema[keyword]) ? (schema[keyword] as unknown[]) : [])),
    ...CONDITIONAL.map((keyword) => schema[keyword]),
    referred(schema['$ref'], root),
  ]
  return [schema, ...inside.flatMap((branch) => placeOf(branch, root, around))]
}

/** The place of a property or of a list's item. */
export function placeIn(place: SchemaPlace, part: string | number, root: JsonSchema): SchemaPlace {
  return place.flatMap((schema) => (typeof part === 'number' ? itemsOf(schema, part) : propertiesOf(schema, part)).flatMap((child) => placeOf(child, root)))
}

/** The types that are allowed in a place. */
export function typesIn(place: SchemaPlace): ReadonlySet<string> {
  return new Set(place.flatMap(typesOf))
}

function propertiesOf(schema: JsonSchema, name: string): readonly unknown[] {
  const { properties, patternProperties, additionalProperties } = schema
  if (isRecord(properties) && Object.hasOwn(properties, name)) return [properties[name]]
  const byPattern = isRecord(patternProperties) ? Object.entries(patternProperties).filter(([pattern]) => new RegExp(pattern, 'u').test(name)) : []
  return byPattern.length > 0 ? byPattern.map(([, child]) => child) : [additionalProperties]
}

function itemsOf(schema: JsonSchema, index: number): readonly unknown[] {
  const { items, prefixItems, additionalItems } = schema
  const first = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : []
  if (index < first.length) return [first[index]]
  return [Array.isArray(items) ? additionalItems : items]
}

/** What a `$ref` within the same schema points at. */
function referred(reference: unknown, root: JsonSchema): unknown {
  if (typeof reference !== 'string' || !reference.startsWith('#')) return undefined
  const parts = reference.slice(1).split('/').slice(1)
  return parts.reduce<unknown>((here, part) => (isRecord(here) ? here[part.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined), root)
}
