import { isUint8Array } from 'node:util/types'

/** How a value is given to the cache, and has to come back. */
export type Form = 'object' | 'text' | 'bytes'
export const FORMS: readonly Form[] = ['object', 'text', 'bytes']

/** Whose a value is, and which one of all. */
export interface Stamp {
  readonly tenant: string
  readonly key: string
  /** No two values of a history have the same. */
  readonly version: string
}

/** Padding by which one changed character is noticed, and one of another version. */
function padding(version: string, length: number): string {
  return `${version}|`.repeat(Math.ceil(length / (version.length + 1))).slice(0, length)
}

/** A value that says whose it is and which, with so many characters of padding. */
export function stamped({ tenant, key, version }: Stamp, form: Form, length: number): unknown {
  const value = { tenant, key, version, length, padding: padding(version, length) }
  if (form === 'object') return value
  const text = JSON.stringify(value)
  return form === 'text' ? text : Buffer.from(text)
}

/** What a value says of itself; `undefined`: it is none of ours, or damaged. */
export function stampOf(value: unknown): (Stamp & { readonly form: Form }) | undefined {
  const form = isUint8Array(value) ? 'bytes' : typeof value === 'string' ? 'text' : 'object'
  const read = form === 'object' ? value : parsed(form === 'text' ? (value as string) : Buffer.from(value as Uint8Array).toString())
  if (typeof read !== 'object' || read === null) return undefined
  const { tenant, key, version, length, padding: filled, ...more } = read as Record<string, unknown>
  if (typeof tenant !== 'string' || typeof key !== 'string' || typeof version !== 'string' || typeof length !== 'number') return undefined
  if (Object.keys(more).length > 0 || !(length >= 0 && length < 2 ** 28) || filled !== padding(version, length)) return undefined
  return { tenant, key, version, form }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
