import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ConfigError, parseConfig, type ParseOptions } from '@thermocline/config'

/** Writes files below a directory, by relative path. */
export function writeFiles(directory: string, files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
    writeFileSync(path.join(directory, name), content)
  }
}

/** The error a configuration is refused with. */
export function refused(given: Parameters<typeof parseConfig>[0], options: ParseOptions = { env: {} }): ConfigError {
  try {
    parseConfig(given, options)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('the configuration was accepted')
}

/** Its problems as `path: message`. */
export function problemsOf(given: Parameters<typeof parseConfig>[0], options?: ParseOptions): string[] {
  return refused(given, options).problems.map(({ path: at, message }) => `${at}: ${message}`)
}

export async function rejection(promise: Promise<unknown>): Promise<ConfigError> {
  const outcome = await promise.then(() => undefined, (error: unknown) => error)
  if (outcome instanceof ConfigError) return outcome
  throw new Error(`expected a ConfigError, not ${String(outcome)}`, { cause: outcome })
}
