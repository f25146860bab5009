import { kindOf } from '../options.js'
import { isRecord } from '../schema/json-schema.js'
import type { BuiltIn } from './built-in-adapter.js'
import { BUILT_IN } from './built-in.js'
import type { CacheAdapter } from './cache-adapter.js'

/** What an adapter's package exports, seen as what it is. */
export type Exported = { readonly builtIn: BuiltIn; readonly Backend: new (options: object) => unknown } | { readonly foreign: CacheAdapter }

/** Adapters that the caller imported, by the name in the file. */
export type GivenAdapters = ReadonlyMap<string, Exported>

/** Two names of one backend. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['fs', 'local'],
  ['local', 'fs'],
])

/**
 * What a module exports as an adapter: the class of a built-in backend where it is named so, else a `cacheAdapter`. A module that
 * was required may have both under `default`.
 */
export function exportedAdapter(name: string, module: unknown): Exported | undefined {
  const builtIn = BUILT_IN.get(name)
  for (const one of [module, isRecord(module) ? module['default'] : undefined]) {
    if (!isRecord(one)) continue
    const Backend = builtIn === undefined ? undefined : one[builtIn.className]
    if (builtIn !== undefined && typeof Backend === 'function') return { builtIn, Backend: Backend as new (options: object) => unknown }
    if (isAdapter(one['cacheAdapter'])) return { foreign: one['cacheAdapter'] }
  }
  return undefined
}

/**
 * Checks what was given as `adapters`: for each backend its module, or the adapter itself.
 *
 * @throws TypeError that names the backend and says what its value has to be
 */
export function givenAdapters(adapters: Readonly<Record<string, unknown>>): GivenAdapters {
  const given = Object.entries(adapters).flatMap(([name, value]): readonly (readonly [string, Exported])[] => {
    if (value === undefined) return []
    const exported = isAdapter(value) ? { foreign: value } : exportedAdapter(name, value)
    if (exported === undefined) throw new TypeError(`loadCache(source, { adapters }): adapters.${name} must be ${expectedOf(name)}, not ${isRecord(value) ? 'a module without it' : kindOf(value)}`)
    return [[name, exported]]
  })
  const byName = new Map(given)
  for (const [name, exported] of given) {
    const alias = ALIASES.get(name)
    if (alias !== undefined && !byName.has(alias)) byName.set(alias, exported)
  }
  return byName
}

function expectedOf(name: string): string {
  const builtIn = BUILT_IN.get(name)
  const own = 'an adapter of your own, { name, configSchema, create(config) }, or a module that exports one as cacheAdapter'
  return builtIn === undefined ? own : `what ${builtIn.packageName} exports (import * as ${name} from '${builtIn.packageName}'), or ${own}`
}

function isAdapter(value: unknown): value is CacheAdapter {
  return isRecord(value) && typeof value['name'] === 'string' && isRecord(value['configSchema']) && typeof value['create'] === 'function'
}
