import path from 'node:path'
import type { CacheBackend } from '@thermocline/backend'
import { TieredCacheManager, type TelemetryOptions, type TieredCacheManagerOptions, type TierOptions } from '@thermocline/core'
import { DisabledBackend } from './adapters/disabled-backend.js'
import type { Settings, SettingFiles } from './adapters/built-in-adapter.js'
import { BUILT_IN } from './adapters/built-in.js'
import { givenAdapters, type Exported } from './adapters/given.js'
import { FALLBACK_ADAPTER, loadAdapters, type LoadedAdapters } from './adapters/load.js'
import { readSettingFiles } from './adapters/setting-files.js'
import type { CacheConfiguration, ConfigurationInput, ReadingOptions } from './configuration.js'
import { draftOf, type Draft } from './draft.js'
import { checkConfigs, finish, type Configs } from './finish.js'
import { checkEnvironment, checkOptions, isPlain, kindOf, KINDS, READING_OPTIONS, type OptionKind } from './options.js'
import { readText } from './reading/document.js'
import type { Path } from './problems/path.js'
import { reasonFor } from './problems/redact.js'
import { filePath, readConfigFile } from './reading/file.js'
import { readObject } from './reading/object.js'

export interface LoadOptions extends ReadingOptions {
  /**
   * Adapters that were imported, by the name in the file (`memory`, `local`, `redis`, `s3`, `gcs`, or one of your own): the module of a package
   * (`import * as redis from '@thermocline/redis'`), or a {@link CacheAdapter}. What is not among them is looked for. A program that is
   * bundled gives those it has in the bundle.
   */
  readonly adapters?: Readonly<Record<string, object>> | undefined
  /** Where adapters are looked for before the working directory. Default: the directory of the file; none for an object. */
  readonly directory?: string | undefined
  readonly clock?: TieredCacheManagerOptions['clock']
  readonly logger?: TieredCacheManagerOptions['logger']
  /** Providers, and settings that go before those of the file. */
  readonly telemetry?: TelemetryOptions | undefined
}

/**
 * Makes a cache from a YAML or JSON file, named by path or URL, or from the same as an object. Loads only the adapters
 * that are named. Waits for no server: one that is down is a degraded tier until it answers.
 *
 * @throws ConfigError that lists every problem, tiers whose package is not installed among them
 * @throws TypeError for an option that it does not take, or of the wrong type, and for a source that is neither
 *
 * @example
 * ```ts
 * const cache = await loadCache('cache.yaml')
 * const inTests = await loadCache({ preset: 'test' })
 * ```
 */
export async function loadCache(source: string | URL | ConfigurationInput | { readonly caching: ConfigurationInput }, options: LoadOptions = {}): Promise<TieredCacheManager> {
  if (typeof source !== 'string' && !(source instanceof URL) && !isPlain(source)) throw new TypeError(`loadCache(source) needs the path of a file or an object, not ${kindOf(source)}`)
  checkOptions('loadCache(source, options)', options, OPTIONS)
  if (options.env !== undefined) checkEnvironment('loadCache(source, { env })', options.env)
  const given = givenAdapters(options.adapters ?? {})
  const file = typeof source === 'string' || source instanceof URL ? filePath(source) : undefined
  const read = file === undefined ? readObject(source as object) : readText(await readConfigFile(file), file)
  // an adapter of one's own may have the name of a built-in one
  const draft = draftOf(read, options, (name) => (isForeign(given.get(name)) ? undefined : BUILT_IN.get(name)))
  const own = options.directory ?? (file === undefined ? undefined : path.dirname(path.resolve(file)))
  const directories = [...new Set([...(own === undefined ? [] : [path.resolve(own)]), process.cwd()])]
  // a cache that is switched off must not fail for what it would not use
  const isOff = draft.caching['enabled'] === false
  const adapters: LoadedAdapters = isOff ? new Map() : await loadAdapters(draft.tiers, { given, directories }, draft.problems)
  const foreign = new Map([...adapters].flatMap(([name, { foreignSchema }]) => (foreignSchema === undefined ? [] : [[name, foreignSchema] as const])))
  const configs = checkConfigs(draft, foreign)
  const files = isOff ? new Map<string, SettingFiles>() : await readFiles(draft, configs, directories)
  return build(finish(draft, configs), { draft, adapters, files }, options)
}

const OPTIONS = { ...READING_OPTIONS, adapters: KINDS.object, directory: KINDS.text, clock: KINDS.object, logger: KINDS.any, telemetry: KINDS.object } as const satisfies Readonly<Record<keyof LoadOptions, OptionKind>>

function isForeign(exported: Exported | undefined): boolean {
  return exported !== undefined && 'foreign' in exported
}

/** What the backends are made with. */
interface Parts {
  readonly draft: Draft
  readonly adapters: LoadedAdapters
  /** By the name of the tier. */
  readonly files: ReadonlyMap<string, SettingFiles>
}

/** The backends of a tier. */
interface Made {
  readonly backend: CacheBackend
  readonly fallback: CacheBackend | undefined
}

/** Reads the files that the settings of tiers name. One that cannot be used is a problem of its setting. */
async function readFiles({ tiers, problems, resolver, builtIn: builtInOf }: Draft, configs: Configs, directories: readonly string[]): Promise<ReadonlyMap<string, SettingFiles>> {
  const files = new Map<string, SettingFiles>()
  for (const { name, at, backend = '' } of tiers) {
    const builtIn = builtInOf(backend)
    const config = configs.get(name) ?? {}
    if (builtIn?.files === undefined) continue
    const place = (setting: Path): Path => [...at, 'config', ...setting]
    let unread = false
    const read = await readSettingFiles(config, builtIn.files, {
      directories,
      variables: (setting) => resolver.variablesIn(place(setting)),
      problem: (setting, message) => {
        unread = true
        problems.add(place(setting), message)
      },
    })
    files.set(name, read)
    if (!unread) for (const { path: setting, message } of builtIn.wrongFiles?.(config, read) ?? []) problems.add(place(setting), message)
  }
  return files
}

async function build(configuration: CacheConfiguration, { draft, adapters, files }: Parts, options: LoadOptions): Promise<TieredCacheManager> {
  const { problems } = draft
  const backends = new Map<string, Made>()
  for (const { name, at } of draft.tiers) {
    const { backend, config, fallback, maxPayloadBytes } = configuration.tiers[name] as CacheConfiguration['tiers'][string]
    const create = (adapter: string, settings: Settings): CacheBackend =>
      adapters.get(adapter)?.create(settings, { files: files.get(name) ?? new Map(), maxPayloadBytes }) as CacheBackend
    try {
      const made = configuration.enabled ? create(backend, config) : new DisabledBackend()
      backends.set(name, { backend: made, fallback: configuration.enabled && fallback !== undefined ? create(FALLBACK_ADAPTER, { max_entries: fallback.maxEntries }) : undefined })
    } catch (thrown) {
      const { reason, cause } = reasonFor(thrown, config)
      problems.add([...at, 'config'], `${backend} refuses these settings: ${reason}`, { cause })
    }
  }
  try {
    problems.throwIfAny()
    return manager(configuration, backends, draft, options)
  } catch (error) {
    const made: readonly Partial<CacheBackend>[] = [...backends.values()].flatMap(({ backend, fallback }) => [backend, fallback]).filter((backend) => typeof backend === 'object')
    await Promise.allSettled(made.map(async (backend) => backend[Symbol.asyncDispose]?.()))
    throw error
  }
}

function manager(configuration: CacheConfiguration, backends: ReadonlyMap<string, Made>, draft: Draft, options: LoadOptions): TieredCacheManager {
  const { enabled, defaultTtl, policies, coordination, refreshConcurrency, writeBack, telemetry } = configuration
  const tiers = Object.entries(configuration.tiers).map(([name, { backend: _, config: __, fallback: ___, ...limits }]) => {
    return [name, { ...limits, ...(backends.get(name) as Made) }] as const satisfies readonly [string, TierOptions]
  })
  try {
    return new TieredCacheManager({
      enabled,
      defaultTtl,
      tiers: Object.fromEntries(tiers),
      policies,
      coordination,
      refreshConcurrency,
      writeBack,
      codecs: options.codecs,
      clock: options.clock,
      logger: options.logger,
      telemetry: { ...telemetry, ...options.telemetry },
    })
  } catch (cause) {
    // what core or a third party's backend refuses and the schema does not know
    draft.problems.add(draft.at, cause instanceof Error ? cause.message : String(cause), { cause })
    draft.problems.throwIfAny()
    throw cause
  }
}
