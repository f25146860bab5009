import type { Path } from './path.js'

const CREDENTIAL = /pass|secret|token|credential|auth|private|signature|(^|[_-])(key|url|uri|dsn|pwd)s?$|key_?id$|Key$|Url$/i
/** Words, numbers and durations. An address, a path, a key in base64 and what has a user and a password in it are not of this form. */
const PLAIN_TEXT = /^[\p{L}\p{N}_ .,+%-]{1,40}$/u
/** A long word of letters and digits may be a token in the wrong place. */
const LIKE_A_TOKEN = /(?=[^ ]*\p{L})(?=[^ ]*\p{N})[^ ]{16,}|[^ ]{25,}/u

/** What is known of the fields of a document, for messages about them. */
export interface Written {
  /** The environment variables in a field. Its value is not shown then. */
  readonly variables: (path: Path) => readonly string[]
  /** The text of a number, `true`, `null` or nothing (`''`) as it stands in the file; `undefined` where that is not known. */
  readonly source: (path: Path) => string | undefined
  /** Whether a text also stands where a credential does. */
  readonly isSecret: (text: string) => boolean
  /** Where a key that nothing takes there belongs; `undefined` when it belongs nowhere. */
  readonly belongs: (path: Path) => string | undefined
}

/** What is known of a document that was not written down. */
export const UNWRITTEN: Written = { variables: () => [], source: () => undefined, isSecret: () => false, belongs: () => undefined }

/** Whether a field's value must not appear in a message: its name, or that of something around it, says credential or address. */
export function isCredential(path: Path): boolean {
  return path.some((part) => typeof part === 'string' && CREDENTIAL.test(part))
}

/** Says what stands in a field, as it stands there. Text that may be a credential or have one in it is named, not quoted. */
export function found(value: unknown, path: Path, written: Written = UNWRITTEN): string {
  const variables = written.variables(path)
  if (variables.length > 0) return `${typeof value === 'string' ? 'text' : `a ${typeof value}`} from ${variables.map((name) => `\${${name}}`).join(', ')}`
  if (value === null) return written.source(path) === '' ? 'nothing' : (written.source(path) ?? 'null')
  if (Array.isArray(value)) return 'a list'
  switch (typeof value) {
    case 'string':
      if (value === '') return 'empty text'
      return isShown(value, path, written) ? `the text ${JSON.stringify(value)}` : 'text'
    case 'number':
    case 'boolean':
      return isCredential(path) ? `a ${typeof value}` : (written.source(path) ?? String(value))
    case 'object':
      return 'a map'
    default:
      return `a ${typeof value}`
  }
}

function isShown(text: string, path: Path, written: Written): boolean {
  return PLAIN_TEXT.test(text) && !LIKE_A_TOKEN.test(text) && !isCredential(path) && !written.isSecret(text)
}
