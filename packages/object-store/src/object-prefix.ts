import { kindOfOption } from '@thermocline/backend'

/** With the longest tenant (128 bytes, each escaped as three) a hashed name still has its place in a store's 1,024 bytes. */
const MAX_PREFIX_BYTES = 512

/**
 * What the name of every object begins with.
 *
 * @throws TypeError that names the rule
 */
export function checkObjectPrefix(prefix: unknown): string {
  if (prefix === undefined) return ''
  if (typeof prefix !== 'string') throw new TypeError(`prefix must be a string, not ${kindOfOption(prefix)}`)
  if (!prefix.isWellFormed() || /\p{Cc}/u.test(prefix)) throw new TypeError('prefix must be well-formed Unicode without control characters')
  if (prefix.split('/').some((segment) => /^\.+$/.test(segment))) throw new TypeError('prefix must not have segments of dots alone: a proxy would take them for a parent')
  if (Buffer.byteLength(prefix) > MAX_PREFIX_BYTES) throw new TypeError(`prefix must be at most ${MAX_PREFIX_BYTES} UTF-8 bytes, this one has ${Buffer.byteLength(prefix)}`)
  return prefix
}
