import type { BuiltIn } from './adapters/built-in-adapter.js'
import { BUILT_IN } from './adapters/built-in.js'
import { checkNames } from './check-names.js'
import type { ReadingOptions } from './configuration.js'
import { ScalarResolver } from './environment/resolve-scalars.js'
import { belongs } from './belongs.js'
import type { Written } from './problems/found.js'
import { formatPath, type Path } from './problems/path.js'
import { secretsOf } from './problems/redact.js'
import type { ProblemList } from './problems/problem-list.js'
import { applyPreset } from './reading/apply-preset.js'
import type { Source } from './reading/document.js'
import { rootOf } from './reading/root.js'
import { cachingSchema } from './schema/caching.js'
import { isRecord } from './schema/json-schema.js'
import { propertyNames } from './schema/keywords.js'
import { validateOwn } from './schema/validate.js'

/** A tier whose own keys were checked and whose adapter's `config` was not. */
export interface DraftTier {
  readonly name: string
  readonly at: Path
  readonly settings: Readonly<Record<string, unknown>>
  /** `undefined` when it could not be made out, which is a problem already. */
  readonly backend: string | undefined
  /** Where the tier has its `fallback`, if it has one. */
  readonly fallbackAt: Path | undefined
}

/**
 * A configuration checked as far as it can be before third parties' adapters are loaded: what is wrong so far is in
 * `problems` and nothing has been thrown yet.
 */
export interface Draft {
  readonly caching: Readonly<Record<string, unknown>>
  readonly at: Path
  readonly tiers: readonly DraftTier[]
  readonly problems: ProblemList
  /** What is known of its fields, for messages about them. */
  readonly written: Written
  readonly resolver: ScalarResolver
  /** The built-in adapter that a backend's name stands for. */
  readonly builtIn: (backend: string) => BuiltIn | undefined
}

/** @throws ConfigError only when the document holds no configuration at all */
export function draftOf(source: Source, { env = process.env, codecs = [] }: ReadingOptions, builtIn: Draft['builtIn'] = (name) => BUILT_IN.get(name)): Draft {
  const { problems } = source
  const root = rootOf(source)
  const { at } = root
  const resolver = new ScalarResolver(env, problems)
  const codecIds = codecs.map((codec) => codec.id)
  const general = cachingSchema({ codecs: codecIds })
  const own = resolver.resolve(root.caching, general, at) as Readonly<Record<string, unknown>>
  const caching = applyPreset(own, own['preset'])
  const tierNames = isRecord(caching['tiers']) ? Object.keys(caching['tiers']) : undefined
  const schema = cachingSchema({ tiers: tierNames, codecs: codecIds })
  const written: Written = {
    variables: resolver.variablesIn,
    source: source.sourceAt,
    isSecret: secretsOf(root.caching),
    belongs: (path) => belongs(caching, at, path),
  }
  const misplaced = new Set(checkNames(caching, at, { problems, written }).map(formatPath))
  const wrong = validateOwn(caching, schema, { at, written }).filter(({ path }) => !path.some((_, end) => misplaced.has(formatPath(path.slice(0, end + 1)))))
  // an unknown preset is the problem, not the tiers it did not bring
  const told = own['preset'] === undefined || tierNames !== undefined ? wrong : wrong.filter(({ path }) => path.at(-1) !== 'tiers')
  for (const { path, message, suggestion } of told) problems.add(path, message, { suggestion })
  return { caching, at, tiers: tiersOf(caching['tiers'], at, problems, builtIn), problems, written, resolver, builtIn }
}

function tiersOf(tiers: unknown, at: Path, problems: ProblemList, builtIn: Draft['builtIn']): readonly DraftTier[] {
  if (!isRecord(tiers)) return []
  return Object.entries(tiers).map(([name, settings]) => {
    const tierAt = [...at, 'tiers', name]
    const known = isRecord(settings) ? settings : {}
    const { backend } = known
    const usable = typeof backend === 'string' && backend !== '' && !problems.has([...tierAt, 'backend'])
    return { name, at: tierAt, settings: known, backend: usable ? backend : undefined, fallbackAt: fallbackOf(known, tierAt, builtIn) }
  })
}

/** In the tier, or among the settings of a built-in backend that takes it there. */
function fallbackOf(settings: Readonly<Record<string, unknown>>, at: Path, builtIn: Draft['builtIn']): Path | undefined {
  const { backend, config, fallback } = settings
  if (fallback !== undefined) return [...at, 'fallback']
  const schema = typeof backend === 'string' ? builtIn(backend)?.configSchema : undefined
  return propertyNames(schema).includes('fallback') && isRecord(config) && config['fallback'] !== undefined ? [...at, 'config', 'fallback'] : undefined
}
