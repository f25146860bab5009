import { pathToFileURL } from 'node:url'
import type { CacheBackend } from '@thermocline/core'
import type { DraftTier } from '../draft.js'
import { didYouMean, nearMiss } from '../problems/near-miss.js'
import type { ProblemList } from '../problems/problem-list.js'
import { isRecord, type JsonSchema } from '../schema/json-schema.js'
import type { Path } from '../problems/path.js'
import type { BuiltIn, Settings, Surroundings } from './built-in-adapter.js'
import { BUILT_IN } from './built-in.js'
import type { CacheAdapter } from './cache-adapter.js'
import { isModulePath, resolveModule } from './resolve.js'

/** An adapter ready to make backends. */
export interface LoadedAdapter {
  /** The schema of a third party's `config`; the built-in ones are checked without their packages. */
  readonly foreignSchema: JsonSchema | undefined
  create(config: Settings, surroundings: Surroundings): CacheBackend
}

/** What a package, or a module in it, can be called. */
const PACKAGE = /^(@[a-z0-9._~-]+\/)?[a-z0-9._~-]+(\/[\w./-]+)?$/i
/** What people call the built-in ones. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({ memory: ['ram', 'in-memory', 'lru', 'hot'], local: ['disk', 'file', 'files', 'filesystem', 'file-system', 'warm'], redis: ['valkey', 'ioredis'], s3: ['aws', 'minio', 'ceph', 'r2', 'cold'], gcs: ['google', 'gcp', 'gs'] })
    .flatMap(([name, others]) => others.map((other) => [other, name] as const)),
)

/** By the name in the file. */
export type LoadedAdapters = ReadonlyMap<string, LoadedAdapter>

/** The adapter that a `fallback` is made by. */
export const FALLBACK_ADAPTER = 'memory'

/** Loads the adapters that the tiers name, and only those, each once. One that cannot be had is a problem wherever it is named. */
export async function loadAdapters(tiers: readonly DraftTier[], directories: readonly string[], problems: ProblemList): Promise<LoadedAdapters> {
  const named = tiers.flatMap(namedBy)
  const loaded = new Map<string, LoadedAdapter>()
  const load = async (name: string): Promise<void> => {
    const adapter = await loadAdapter(name, directories)
    if ('create' in adapter) {
      loaded.set(name, adapter)
      return
    }
    const { message, suggestion, cause } = adapter
    for (const { adapter: one, at } of named) if (one === name) problems.add(at, message, { suggestion, cause })
  }
  await Promise.all([...new Set(named.map((one) => one.adapter))].map(load))
  return loaded
}

function namedBy({ at, backend, fallbackAt }: DraftTier): readonly { readonly adapter: string; readonly at: Path }[] {
  return [
    ...(backend === undefined ? [] : [{ adapter: backend, at: [...at, 'backend'] }]),
    ...(fallbackAt === undefined ? [] : [{ adapter: FALLBACK_ADAPTER, at: fallbackAt }]),
  ]
}

interface Unusable {
  readonly message: string
  readonly suggestion?: string | undefined
  readonly cause?: unknown
}

async function loadAdapter(name: string, directories: readonly string[]): Promise<LoadedAdapter | Unusable> {
  const builtIn = BUILT_IN.get(name)
  const specifier = builtIn?.packageName ?? name
  const file = resolveModule(specifier, directories)
  if (file === undefined) return notInstalled(name, specifier, builtIn)
  let module: unknown
  try {
    module = await import(pathToFileURL(file).href)
  } catch (cause) {
    return { message: `${specifier} is installed and cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause }
  }
  if (!isRecord(module)) return { message: `${specifier} exports nothing` }
  return builtIn === undefined ? thirdParty(name, module) : ofClass(builtIn, module)
}

function notInstalled(name: string, specifier: string, builtIn: BuiltIn | undefined): Unusable {
  if (builtIn !== undefined) return { message: `the package of this backend is not installed; run: npm install ${specifier}` }
  if (isModulePath(name)) return { message: `there is no module ${JSON.stringify(name)} beside the configuration file or in the working directory` }
  // never advise to install what may be a typo
  const suggestion = nearMiss(name, BUILT_IN.keys())
  if (suggestion !== undefined) return { message: `no backend and no installed package has that name${didYouMean(suggestion)}`, suggestion }
  if (!PACKAGE.test(name)) return { message: `expected a built-in backend (${[...BUILT_IN.keys()].join(', ')}), the name of a package, or a path beginning with \`./\`` }
  const meant = OTHER_NAMES.get(name.toLowerCase())
  if (meant !== undefined) return { message: `no backend and no installed package has that name${didYouMean(meant)}`, suggestion: meant }
  const packageName = name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/')
  const known = `no built-in backend has that name (they are ${[...BUILT_IN.keys()].join(', ')}), and no such package is installed`
  // a plain word is somebody's package on the registry, but hardly an adapter
  return { message: packageName.includes('/') ? `${known}; run: npm install ${packageName}` : `${known}; if ${packageName} is an adapter's package, install it first` }
}

function ofClass(builtIn: BuiltIn, module: Readonly<Record<string, unknown>>): LoadedAdapter | Unusable {
  const { packageName, className } = builtIn
  const Backend = module[className]
  if (typeof Backend !== 'function') return { message: `${packageName} exports no ${className}: its version does not fit; run: npm install ${packageName}` }
  return { foreignSchema: undefined, create: (config, surroundings) => Reflect.construct(Backend, [builtIn.options(config, surroundings)]) as CacheBackend }
}

function thirdParty(name: string, module: Readonly<Record<string, unknown>>): LoadedAdapter | Unusable {
  const exported = module['cacheAdapter'] ?? (isRecord(module['default']) ? module['default']['cacheAdapter'] : undefined)
  if (!isRecord(exported) || typeof exported['name'] !== 'string' || !isRecord(exported['configSchema']) || typeof exported['create'] !== 'function') {
    return { message: `${name} is no adapter: expected an export \`cacheAdapter\` of { name, configSchema, create(config) }` }
  }
  const adapter = exported as unknown as CacheAdapter
  return { foreignSchema: adapter.configSchema, create: (config) => adapter.create(config) }
}
