import { types } from 'node:util'

/** Names the kind of a value for an error message, without ever printing a string's content in full. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (types.isProxy(value)) return 'a Proxy' // asked whether it is an array, one that was revoked throws
  if (Array.isArray(value)) return 'an array'
  switch (typeof value) {
    case 'string':
      return value.length <= 40 ? `the string ${JSON.stringify(value)}` : `a string of ${value.length} characters`
    case 'number':
    case 'boolean':
      return `the ${typeof value} ${String(value)}`
    case 'bigint':
      return BigInt.asIntN(64, value) === value ? `the bigint ${String(value)}n` : 'a large bigint'
    case 'undefined':
      return 'undefined'
    case 'object':
      return 'an object'
    default:
      return `a ${typeof value}`
  }
}

/** Names the kind of a value for an error message, with nothing of its content. */
export function kindOnly(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'undefined'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Names the kind of an option's value for an error message, with numbers as they are: never the content of text, which may be secret. */
export function kindOfOption(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value === '' ? 'an empty string' : typeof value
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
