import { readFile } from 'node:fs/promises'
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
    const reason = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a directory' : String(code)
    throw new ConfigError([{ path: '', message: `cannot be read: ${reason}` }], file, cause)
  }
}
