import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../config-error.js'

/** The path of a file that was named by a path or a `file:` URL. */
export function filePath(file: string | URL): string {
  return typeof file === 'string' ? file : fileURLToPath(file)
}

/** @throws ConfigError when there is no such file or it may not be read */
export async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const code = (cause as { readonly code?: unknown }).code
    const reason = code === 'ENOENT' ? (path.isAbsolute(file) ? 'there is no such file' : `there is no such file; looked for ${path.resolve(file)}`) : code === 'EISDIR' ? 'it is a directory' : String(code)
    throw new ConfigError([{ path: '', message: `cannot be read: ${reason}` }], file, cause)
  }
}
