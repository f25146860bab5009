import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { formatPath, type Path } from '../problems/path.js'
import { isRecord } from '../schema/json-schema.js'
import type { Settings } from './built-in-adapter.js'

/** Longer text, or text of several lines, is no path: somebody put the content itself there, which may be a private key. */
const PLAIN_PATH = /^[^\r\n]{1,200}$/

export interface FileReading {
  /** Where a relative path is looked for, one after the other. */
  readonly directories: readonly string[]
  /** The environment variables in a setting, whose value is not shown. */
  readonly variables: (setting: Path) => readonly string[]
  /** Told of each file that cannot be read. */
  readonly problem: (setting: Path, message: string) => void
}

/** Reads the files that settings name; those whose setting is absent are left out. */
export async function readSettingFiles(config: Settings, settings: readonly Path[], reading: FileReading): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const read = async (setting: Path): Promise<void> => {
    const written = valueAt(config, setting)
    if (typeof written !== 'string' || written === '') return
    const content = await firstOf(reading.directories.map((directory) => path.resolve(directory, written)))
    if (Buffer.isBuffer(content)) files.set(formatPath(setting), content)
    else reading.problem(setting, `${content}: ${shown(written, reading.variables(setting))}`)
  }
  await Promise.all(settings.map(read))
  return files
}

function valueAt(config: Settings, setting: Path): unknown {
  return setting.reduce<unknown>((here, part) => (isRecord(here) ? here[part] : undefined), config)
}

/** The content of the first file that is there, or why there is none. */
async function firstOf(candidates: readonly string[]): Promise<Buffer | string> {
  for (const file of new Set(candidates)) {
    try {
      return await readFile(file)
    } catch (error) {
      const { code } = error as { readonly code?: unknown }
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      return code === 'EISDIR' ? 'is a directory and no file' : code === 'EACCES' ? 'names a file that this process may not read' : `names a file that cannot be read (${String(code)})`
    }
  }
  return 'names a file that is neither beside the configuration file nor in the working directory'
}

function shown(written: string, variables: readonly string[]): string {
  if (variables.length > 0) return `text from ${variables.map((name) => `\${${name}}`).join(', ')}`
  if (!PLAIN_PATH.test(written) || written.includes('-----')) return 'text that is no path; give the path of a file, not what is in it'
  return JSON.stringify(written)
}
