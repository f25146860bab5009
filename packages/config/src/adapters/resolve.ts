import { existsSync } from 'node:fs'
import nodeModule from 'node:module'
import path from 'node:path'
import { packageEntry } from './package-entry.js'

/** Whether a backend is a module of the user's own, named by its path. */
export function isModulePath(backend: string): boolean {
  return backend.startsWith('./') || backend.startsWith('../') || path.isAbsolute(backend)
}

/**
 * The file of an adapter's module, looked for from each directory in turn.
 *
 * @returns `undefined` when it is not installed
 */
export function resolveModule(specifier: string, directories: readonly string[]): string | undefined {
  if (isModulePath(specifier)) return directories.map((directory) => path.resolve(directory, specifier)).find(existsSync)
  for (const directory of directories) {
    // not as a named import, which webpack looks into for what it could bundle
    const file = quietly(() => packageEntry(specifier, directory)) ?? quietly(() => nodeModule.createRequire(path.join(directory, 'x.js')).resolve(specifier))
    if (file !== undefined && path.isAbsolute(file)) return file
  }
  return undefined
}

/** A package that cannot be resolved from one directory may be from the next. */
function quietly(resolve: () => string | undefined): string | undefined {
  try {
    return resolve()
  } catch {
    return undefined
  }
}
