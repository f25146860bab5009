import { existsSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { isRecord } from '../schema/json-schema.js'

/** The conditions of `exports` that `import()` goes by. */
const CONDITIONS: ReadonlySet<string> = new Set(['node', 'import', 'module-sync', 'default'])

/**
 * The file that `import(specifier)` would load from `directory`, for packages with `exports`. Node offers that only for
 * the importing module itself: `import.meta.resolve` takes no other parent without a flag, and `require.resolve` does not
 * see what is exported to `import` alone.
 *
 * @returns `undefined` where no such package is found, or it has no `exports`, or they lack the specifier
 */
export function packageEntry(specifier: string, directory: string): string | undefined {
  const parts = specifier.split('/')
  const name = parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
  const subpath = ['.', ...parts.slice(name.split('/').length)].join('/')
  const root = packageRoot(name, directory)
  if (root === undefined) return undefined
  const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { readonly exports?: unknown }
  const bySubpath = isRecord(exports) && Object.keys(exports).some((key) => key.startsWith('.'))
  const target = conditional(bySubpath ? exports[subpath] : subpath === '.' ? exports : undefined)
  return target?.startsWith('./') === true ? realpathSync(path.join(root, target)) : undefined
}

function packageRoot(name: string, directory: string): string | undefined {
  const root = path.join(directory, 'node_modules', name)
  if (existsSync(path.join(root, 'package.json'))) return root
  const above = path.dirname(directory)
  return above === directory ? undefined : packageRoot(name, above)
}

function conditional(target: unknown): string | undefined {
  if (typeof target === 'string') return target
  if (Array.isArray(target)) return target.map(conditional).find((one) => one !== undefined)
  if (!isRecord(target)) return undefined
  for (const [condition, inside] of Object.entries(target)) {
    const found = CONDITIONS.has(condition) ? conditional(inside) : undefined
    if (found !== undefined) return found
  }
  return undefined
}
