/*
 * What clients of stores throw carries what they know: the arguments of `AUTH`, the headers of a signed request, a whole socket. Whoever logs an
 * error with its cause would write that down. So a cause is a copy of what is fit to be read.
 */

const HIDDEN = '***'
/** What is longer is cut before it is looked through. */
const LONGEST = 16_384
const SECRET_PATTERNS: readonly (readonly [RegExp, string])[] = [
  // the user and password of an address
  [/(\b[a-z][a-z0-9+.-]{0,30}:\/\/)(?:[^\s/?#]*|[^\s@:]*:\S*)@/gi, `$1${HIDDEN}@`],
  // Redis repeats the arguments of a command that it does not know, and that may be AUTH
  [/(, with args beginning with: )[^]*$/i, `$1${HIDDEN}`],
  // JSON.parse repeats what it could not read, and that may be a key file
  [/(, )"[^]*"( is not valid JSON)/, `$1${HIDDEN}$2`],
  [/-----BEGIN [^-]*PRIVATE KEY-----[^]*?(?:-----END [^-]*PRIVATE KEY-----|$)/g, HIDDEN],
  [/\b(bearer|basic)\s+[\w+/=.~-]{8,}/gi, `$1 ${HIDDEN}`],
  [/\b((?:x-amz-|x-goog-)(?:signature|security-token|credential)|signature|(?:access_?|refresh_?|id_?)?token|pass(?:word|wd)|passphrase|client_secret|secret(?:_?access)?_?key|api_?key)(["']?\s*[=:]\s*["']?)[^\s"'&,;}]+/gi, `$1$2${HIDDEN}`],
]

/** A text without the secrets that can be told by their looks: passwords in addresses, tokens, private keys. */
export function scrubbed(text: string): string {
  let clean = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
  for (const [pattern, instead] of SECRET_PATTERNS) clean = clean.replace(pattern, instead)
  return clean
}

/**
 * A plain `Error` instead of what a client threw: its name, message, code and stack, without secrets, and nothing else it may carry. An error of this
 * function's own is given back as it is.
 */
export function plainCause(thrown: unknown): Error {
  if (isPlain(thrown)) return thrown
  const { name, message, code, stack } = partsOf(thrown)
  return new PlainError(name, scrubbed(message), code, framesOf(stack))
}

/** A revoked proxy throws when it is asked what it is. */
function isPlain(thrown: unknown): thrown is PlainError {
  try {
    return thrown instanceof PlainError
  } catch {
    return false
  }
}

class PlainError extends Error {
  declare readonly code?: string | number

  constructor(name: string, message: string, code: string | number | undefined, frames: string) {
    super(message)
    Object.defineProperty(this, 'name', { value: name, configurable: true, writable: true })
    Object.defineProperty(this, 'stack', { value: `${name}: ${message}${frames}`, configurable: true, writable: true })
    if (code !== undefined) this.code = typeof code === 'string' ? scrubbed(code) : code
  }
}

interface Parts {
  readonly name: string
  readonly message: string
  readonly code: string | number | undefined
  readonly stack: string
}

/** Getters of what was thrown may throw, too. */
function partsOf(thrown: unknown): Parts {
  if (typeof thrown !== 'object' || thrown === null) return { name: 'Error', message: String(thrown), code: undefined, stack: '' }
  try {
    const { name, message, code, stack } = thrown as { readonly [field in keyof Parts]?: unknown }
    const isCode = typeof code === 'string' || typeof code === 'number'
    return {
      name: typeof name === 'string' && /^[\w$. -]{1,80}$/.test(name) ? name : 'Error',
      message: typeof message === 'string' ? message : isCode ? String(code) : 'no message',
      code: isCode ? code : undefined,
      stack: typeof stack === 'string' ? stack : '',
    }
  } catch {
    return { name: 'Error', message: 'an error that cannot be read', code: undefined, stack: '' }
  }
}

/** A stack begins with the message, as it was. */
function framesOf(stack: string): string {
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line))
  return frames.length === 0 ? '' : `\n${scrubbed(frames.join('\n'))}`
}
