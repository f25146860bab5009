import { isRecord } from '../schema/json-schema.js'

/** The same settings with the names that the adapters' TypeScript options have: `key_prefix` becomes `keyPrefix`, at every depth. */
export function camelCased(config: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(config).map(([name, value]) => [camelCase(name), inside(value)]))
}

/** `key_prefix` becomes `keyPrefix`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function inside(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inside)
  return isRecord(value) ? camelCased(value) : value
}
