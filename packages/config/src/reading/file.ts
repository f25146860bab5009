import { createReadStream } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../config-error.js'
import { LIMITS, TOO_LARGE } from './limits.js'

/** No path: several lines, or longer than any system takes. */
const NO_PATH = /[\r\n\0]/
const LONGEST_PATH = 4096
/** Perhaps the text of a configuration: a key and a value, a map, a list, a document; or an address. */
const LIKE_TEXT = /^\s*(?:[[{%#]|---|["']?[\w$.-]+["']?\s*:(?:\s|$))|:\/\//

/**
 * The path of a file that was named by a path or a `file:` URL.
 *
 * @throws TypeError for a URL of anything else
 */
export function filePath(file: string | URL): string {
  if (typeof file === 'string') return file
  if (file.protocol !== 'file:') throw new TypeError(`loadCache(source) takes the path or the file: URL of a file; this is a URL that begins with ${file.protocol}`)
  return fileURLToPath(file)
}

/** @throws ConfigError when there is no such file, it may not be read, or what was given is no path but the text itself, which the error does not show */
export async function readConfigFile(file: string): Promise<string> {
  if (file === '') throw noPath('expected the path of a file, found empty text')
  if (file.length > LONGEST_PATH || NO_PATH.test(file)) throw noPath(NO_FILE)
  try {
    const text = await read(file)
    if (text !== undefined) return text
  } catch (cause) {
    if (LIKE_TEXT.test(file)) throw noPath(NO_FILE)
    const code = (cause as { readonly code?: unknown }).code
    const reason = code === 'ENOENT' ? (path.isAbsolute(file) ? 'there is no such file' : `there is no such file; looked for ${path.resolve(file)}`) : code === 'EISDIR' ? 'it is a directory' : String(code)
    throw new ConfigError([{ path: '', message: `cannot be read: ${reason}` }], file, cause)
  }
  throw new ConfigError([{ path: '', message: TOO_LARGE }], file)
}

const NO_FILE = 'expected the path of a file or an object, found text that is no path; `parseConfig` takes the text of a configuration and checks it, and `loadCache` takes a file that holds it, or the object that it stands for'

/** Has no file and no cause: both would show what was given. */
function noPath(message: string): ConfigError {
  return new ConfigError([{ path: '', message }])
}

/** `undefined`: there is more than a configuration may have. Not read further, because a device never ends. */
async function read(file: string): Promise<string | undefined> {
  const chunks: Buffer[] = []
  for await (const chunk of createReadStream(file, { end: LIMITS.bytes }) as AsyncIterable<Buffer>) chunks.push(chunk)
  const content = Buffer.concat(chunks)
  return content.length > LIMITS.bytes ? undefined : content.toString('utf8')
}
