import { BUILT_IN } from './adapters/built-in.js'
import { checkNames } from './check-names.js'
import type { ReadingOptions } from './configuration.js'
import { ScalarResolver } from './environment/resolve-scalars.js'
import type { Path } from './problems/path.js'
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
  readonly resolver: ScalarResolver
}

/** @throws ConfigError only when the document holds no configuration at all */
export function draftOf({ tree, problems }: Source, { env = process.env, codecs = [] }: ReadingOptions): Draft {
  const root = rootOf(tree, problems)
  const { at } = root
  const resolver = new ScalarResolver(env, problems)
  const codecIds = codecs.map((codec) => codec.id)
  const general = cachingSchema({ codecs: codecIds })
  const own = resolver.resolve(root.caching, general, at) as Readonly<Record<string, unknown>>
  const caching = applyPreset(own, own['preset'])
  const tierNames = isRecord(caching['tiers']) ? Object.keys(caching['tiers']) : undefined
  const schema = cachingSchema({ tiers: tierNames, codecs: codecIds })
  if (tierNames !== undefined) checkNames(caching, at, problems)
  const wrong = validateOwn(caching, schema, { at, variables: resolver.variablesIn })
  // an unknown preset is the problem, not the tiers it did not bring
  const told = own['preset'] === undefined || tierNames !== undefined ? wrong : wrong.filter(({ path }) => path.at(-1) !== 'tiers')
  for (const { path, message, suggestion } of told) problems.add(path, message, { suggestion })
  return { caching, at, tiers: tiersOf(caching['tiers'], at, problems), problems, resolver }
}

function tiersOf(tiers: unknown, at: Path, problems: ProblemList): readonly DraftTier[] {
  if (!isRecord(tiers)) return []
  return Object.entries(tiers).map(([name, settings]) => {
    const tierAt = [...at, 'tiers', name]
    const known = isRecord(settings) ? settings : {}
    const { backend } = known
    const usable = typeof backend === 'string' && backend !== '' && !problems.has([...tierAt, 'backend'])
    return { name, at: tierAt, settings: known, backend: usable ? backend : undefined, fallbackAt: fallbackOf(known, tierAt) }
  })
}

/** In the tier, or among the settings of a built-in backend that takes it there. */
function fallbackOf(settings: Readonly<Record<string, unknown>>, at: Path): Path | undefined {
  const { backend, config, fallback } = settings
  if (fallback !== undefined) return [...at, 'fallback']
  const schema = typeof backend === 'string' ? BUILT_IN.get(backend)?.configSchema : undefined
  return propertyNames(schema).includes('fallback') && isRecord(config) && config['fallback'] !== undefined ? [...at, 'config', 'fallback'] : undefined
}
