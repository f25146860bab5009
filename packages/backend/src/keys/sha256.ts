import type * as Crypto from 'node:crypto'
import nodeModule from 'node:module'

/** Loaded when the first name is hashed: that takes some 4 ms, a tenth of importing this package, and most processes hash none. */
let crypto: typeof Crypto | undefined

/**
 * By the path of the running program: a built-in module is the same from anywhere, and `import.meta` is nothing once this is bundled as
 * CommonJS. Not as a named import, which webpack looks into for what it could bundle.
 */
function load(): typeof Crypto {
  return nodeModule.createRequire(process.execPath)('node:crypto') as typeof Crypto
}

/** The SHA-256 of a text's UTF-8, in hex digits. */
export function sha256(text: string): string {
  crypto ??= load()
  return crypto.createHash('sha256').update(text, 'utf8').digest('hex')
}
