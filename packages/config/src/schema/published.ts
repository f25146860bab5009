import { BUILT_IN } from '../adapters/built-in.js'
import { ADAPTER_CONFIG, cachingSchema, RESERVED_TIER_NAMES, TIER_SCHEMA, TIER_USE_SCHEMA } from './caching.js'
import { isRecord, typesOf, type JsonSchema } from './json-schema.js'
import { SIZE_PATTERN } from './size.js'

/** Text with a variable in it may stand in every field. */
const VARIABLE: JsonSchema = { $ref: '#/definitions/variable' }

const DURATION_PATTERN = '^\\s*\\d+(\\.\\d+)?\\s*(ms|s|m|h|d|w)\\s*$'

/** Parts that are written once and referred to. */
const SHARED: ReadonlyMap<unknown, string> = new Map([
  [TIER_SCHEMA, 'tier'],
  [TIER_USE_SCHEMA, 'tierUse'],
])

/** The JSON Schema for editors, made of the same parts that the loader validates with, in standard keywords only. */
export function publishedSchema(): JsonSchema {
  const configs = new Map([...BUILT_IN.values()].map(({ packageName, configSchema }) => [`${packageName.slice('@thermocline/'.length)}Config`, configSchema]))
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Thermocline cache configuration',
    type: 'object',
    if: { required: ['caching'] },
    then: {
      properties: { $schema: { type: 'string' }, caching: { $ref: '#/definitions/caching' } },
      patternProperties: { '^x-': {} },
      additionalProperties: false,
    },
    else: { $ref: '#/definitions/caching' },
    definitions: {
      caching: cachingDefinition(),
      tier: { ...spelledOut(TIER_SCHEMA), required: undefined, allOf: [...BUILT_IN].map(([backend, { packageName }]) => configOf(backend, packageName)) },
      tierUse: withVariable(spelledOut(TIER_USE_SCHEMA)),
      ...Object.fromEntries([...configs].map(([name, schema]) => [name, spelledOut(schema)])),
      variable: { type: 'string', pattern: '\\$\\{' },
    },
  }
}

/** Without a preset there must be tiers, each with a backend. */
function cachingDefinition(): JsonSchema {
  const caching = spelledOut(cachingSchema())
  const properties = caching['properties'] as Readonly<Record<string, JsonSchema>>
  const tiers = { ...properties['tiers'], propertyNames: { pattern: '^(?!\\d+$)', not: { enum: RESERVED_TIER_NAMES } } }
  return {
    ...caching,
    properties: { ...properties, tiers },
    required: undefined,
    if: { not: { required: ['preset'] } },
    then: { required: ['tiers'], properties: { tiers: { additionalProperties: { required: ['backend'] } } } },
  }
}

function configOf(backend: string, packageName: string): JsonSchema {
  return {
    if: { properties: { backend: { const: backend } }, required: ['backend'] },
    then: { properties: { config: { if: { type: 'object' }, then: { $ref: `#/definitions/${packageName.slice('@thermocline/'.length)}Config` } } } },
  }
}

/** A schema in standard keywords: our own ones become patterns and bounds. */
function spelledOut(schema: JsonSchema): JsonSchema {
  const { duration, bytes, exclusive, expected: _, isPath: __, properties, additionalProperties, items, allOf, ...rest } = schema
  return {
    ...rest,
    ...(isRecord(properties) ? { properties: Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, field(child)])) } : {}),
    ...(additionalProperties === undefined ? {} : { additionalProperties: isRecord(additionalProperties) ? field(additionalProperties) : additionalProperties }),
    ...(items === undefined ? {} : { items: field(items) }),
    ...(Array.isArray(allOf) ? { allOf: allOf.map((branch: JsonSchema) => ({ ...branch, then: spelledOut(branch['then'] as JsonSchema) })) } : {}),
    ...(duration === undefined ? {} : { pattern: DURATION_PATTERN, ...(duration === 'interval' ? { exclusiveMinimum: 0 } : { minimum: 0 }) }),
    ...(bytes === undefined ? {} : { pattern: SIZE_PATTERN, minimum: bytes }),
    ...(Array.isArray(exclusive) ? { not: { anyOf: pairs(exclusive).map((pair) => ({ required: pair })) } } : {}),
  }
}

function field(schema: unknown): unknown {
  const shared = SHARED.get(schema)
  if (shared !== undefined) return { $ref: `#/definitions/${shared}` }
  if (!isRecord(schema) || schema === ADAPTER_CONFIG) return schema
  return withVariable(spelledOut(schema))
}

/** The same, or a variable where the schema would not take one anyway. */
function withVariable(schema: JsonSchema): JsonSchema {
  const types = typesOf(schema)
  const scalar = types.some((type) => type !== 'object' && type !== 'array')
  const takesAnyText = types.includes('string') && schema['enum'] === undefined && schema['pattern'] === undefined
  if (!scalar || takesAnyText) return schema
  const { description, default: byDefault, ...rest } = schema
  return { description, ...(byDefault === undefined ? {} : { default: byDefault }), anyOf: [rest, VARIABLE] }
}

function pairs(names: readonly unknown[]): readonly (readonly unknown[])[] {
  return names.flatMap((first, index) => names.slice(index + 1).map((second) => [first, second]))
}
