import { kindOf } from '../errors/describe.js'

declare const valid: unique symbol

/** A key that has passed {@link validateKey}: non-empty, well-formed, no NUL, at most 1,024 UTF-8 bytes. Unencoded. */
export type ValidKey = string & { readonly [valid]: 'key' }

/** A tenant's name that has passed {@link validateTenant}: as a key, at most 128 UTF-8 bytes. */
export type TenantId = string & { readonly [valid]: 'tenant' }

/** The longest key, in UTF-8 bytes. */
export const MAX_KEY_BYTES = 1024
/** The longest tenant id, in UTF-8 bytes. */
export const MAX_TENANT_BYTES = 128

/** @throws TypeError that names the rule the key breaks */
export function validateKey(key: unknown): ValidKey {
  return checkName(key, 'key', MAX_KEY_BYTES) as ValidKey
}

/** @throws TypeError that names the rule the tenant id breaks */
export function validateTenant(tenant: unknown): TenantId {
  return checkName(tenant, 'tenant', MAX_TENANT_BYTES) as TenantId
}

/**
 * Checks a prefix for `clear` and `list`: like a key, but the empty string is allowed and means everything.
 *
 * @throws TypeError that names the rule the prefix breaks
 */
export function validatePrefix(prefix: unknown): string {
  return prefix === undefined || prefix === '' ? '' : checkName(prefix, 'prefix', MAX_KEY_BYTES)
}

function checkName(name: unknown, what: string, maxBytes: number): string {
  if (typeof name !== 'string') throw new TypeError(`${what} must be a string, not ${kindOf(name)}`)
  if (name.length === 0) throw new TypeError(`${what} must not be empty`)
  // a UTF-16 unit is at most three UTF-8 bytes, so short names need no count
  if (name.length * 3 > maxBytes && Buffer.byteLength(name) > maxBytes) {
    throw new TypeError(`${what} must be at most ${maxBytes} UTF-8 bytes, this one has ${Buffer.byteLength(name)}`)
  }
  if (name.includes('\0')) throw new TypeError(`${what} must not contain the NUL character`)
  if (!name.isWellFormed()) throw new TypeError(`${what} must be well-formed Unicode: this one contains a lone surrogate`)
  return name
}

/** The tenant under which a circuit breaker's probes are written and removed at once. It is longer than any tenant of a user's may be, so that nobody has it. */
export const PROBE_TENANT = '~thermocline-probe'.padEnd(MAX_TENANT_BYTES + 1, '-') as TenantId
