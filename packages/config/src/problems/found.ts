import type { Path } from './path.js'

const CREDENTIAL = /pass|secret|token|credential|auth|private|signature|(^|[_-])(key|url|uri|dsn|pwd)s?$|key_?id$|Key$|Url$/i
const HARMLESS_TEXT = /^[+-]?[\d.]{1,12} ?[a-z]{0,8}$/i

/** Whether a field's value must not appear in a message: its name, or that of something around it, says credential or address. */
export function isCredential(path: Path): boolean {
  return path.some((part) => typeof part === 'string' && CREDENTIAL.test(part))
}

/** Names what stands in a field. Text is named, not quoted: an address with a password may stand in any field. */
export function found(value: unknown, path: Path): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  switch (typeof value) {
    case 'string':
      if (value === '') return 'empty text'
      return HARMLESS_TEXT.test(value) && /\d/.test(value) && !isCredential(path) ? `the text ${JSON.stringify(value)}` : 'text'
    case 'number':
    case 'boolean':
      return isCredential(path) ? `a ${typeof value}` : String(value)
    case 'object':
      return 'a map'
    default:
      return `a ${typeof value}`
  }
}
