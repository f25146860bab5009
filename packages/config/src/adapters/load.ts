import { pathToFileURL } from 'node:url'
import type { CacheBackend } from '@thermocline/backend'
import type { DraftTier } from '../draft.js'
import { didYouMean, nearMiss } from '../problems/near-miss.js'
import type { ProblemList } from '../problems/problem-list.js'
import { isRecord, type JsonSchema } from '../schema/json-schema.js'
import type { Path } from '../problems/path.js'
import type { BuiltIn, Settings, Surroundings } from './built-in-adapter.js'
import { BUILT_IN } from './built-in.js'
import { exportedAdapter, type Exported, type GivenAdapters } from './given.js'
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

/** Where adapters come from. */
export interface AdapterSources {
  /** These first. */
  readonly given: GivenAdapters
  /** Where packages and modules are looked for, one after the other. */
  readonly directories: readonly string[]
}

/** Loads the adapters that the tiers name, and only those, each once. One that cannot be had is a problem wherever it is named. */
export async function loadAdapters(tiers: readonly DraftTier[], from: AdapterSources, problems: ProblemList): Promise<LoadedAdapters> {
  const named = tiers.flatMap(namedBy)
  const names = [...new Set(named.map(({ adapter }) => adapter))]
  const outcomes = await Promise.all(names.map(async (name) => [name, await loadAdapter(name, from)] as const))
  const loaded = new Map<string, LoadedAdapter>()
  for (const [name, adapter] of outcomes) {
    if ('create' in adapter) loaded.set(name, adapter)
    else for (const { at } of named.filter((one) => one.adapter === name)) problems.add(at, adapter.message, adapter)
  }
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

async function loadAdapter(name: string, { given, directories }: AdapterSources): Promise<LoadedAdapter | Unusable> {
  const exported = given.get(name)
  if (exported !== undefined) return loaded(exported)
  const specifier = BUILT_IN.get(name)?.packageName ?? name
  const file = resolveModule(specifier, isModulePath(specifier) ? directories : [...directories, ...(await ownDirectory())])
  if (file === undefined) return notInstalled(name, specifier, BUILT_IN.get(name))
  let module: unknown
  try {
    // bundlers are to leave it alone: what it is, is known only when the configuration has been read
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(file).href)
  } catch (cause) {
    return { message: `${specifier} is installed and cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}${WITHOUT_IMPORT.has(codeOf(cause)) ? `; import it yourself, and give it to loadCache as adapters.${name}` : ''}`, cause }
  }
  const found = exportedAdapter(name, module)
  return found === undefined ? noAdapter(name, BUILT_IN.get(name)) : loaded(found)
}

/** Where the code runs in a context that has no import(): a test of Jest in CommonJS mode. */
const WITHOUT_IMPORT: ReadonlySet<unknown> = new Set(['ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING', 'ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING_FLAG'])

function codeOf(error: unknown): unknown {
  return isRecord(error) ? error['code'] : undefined
}

/** None where this package was bundled as CommonJS. */
async function ownDirectory(): Promise<readonly string[]> {
  try {
    const { OWN_DIRECTORY } = await import(/* webpackMode: "eager" */ './own-directory.js')
    return [OWN_DIRECTORY]
  } catch {
    return []
  }
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

function loaded(exported: Exported): LoadedAdapter {
  if ('foreign' in exported) {
    const { foreign } = exported
    return { foreignSchema: foreign.configSchema, create: (config) => foreign.create(config) }
  }
  const { builtIn, Backend } = exported
  return { foreignSchema: undefined, create: (config, surroundings) => new Backend(builtIn.options(config, surroundings)) as CacheBackend }
}

function noAdapter(name: string, builtIn: BuiltIn | undefined): Unusable {
  if (builtIn === undefined) return { message: `${name} is no adapter: expected an export \`cacheAdapter\` of { name, configSchema, create(config) }` }
  const { packageName, className } = builtIn
  return { message: `${packageName} exports no ${className}: its version does not fit; run: npm install ${packageName}` }
}
