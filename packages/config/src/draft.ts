import { BUILT_IN } from './adapters/built-in.js'
import type { ReadingOptions } from './configuration.js'
import { ScalarResolver } from './environment/resolve-scalars.js'
import { didYouMean, nearMiss } from './problems/near-miss.js'
import type { Path } from './problems/path.js'
import type { ProblemList } from './problems/problem-list.js'
import { oneOf, unknownKey } from './problems/translate.js'
import { applyPreset } from './reading/apply-preset.js'
import type { Source } from './reading/document.js'
import { rootOf } from './reading/root.js'
import { cachingSchema, RESERVED_TIER_NAMES } from './schema/caching.js'
import { isRecord, type JsonSchema } from './schema/json-schema.js'
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
  if (tierNames !== undefined) checkNames(tierNames, caching['policies'], at, problems)
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

/** What no schema can say well: which names tiers may have, and that policies name tiers. */
function checkNames(tiers: readonly string[], policies: unknown, at: Path, problems: ProblemList): void {
  for (const tier of tiers) {
    const path = [...at, 'tiers', tier]
    if (tier === '' || RESERVED_TIER_NAMES.includes(tier)) problems.add(path, 'a tier may not be named like an option of policies and calls; give it another name')
    else if (/^\d+$/.test(tier)) problems.add(path, 'a tier may not be named like a number, because the order of the tiers would be lost; give it another name')
  }
  if (!isRecord(policies)) return
  for (const [name, policy] of Object.entries(policies)) {
    const path = [...at, 'policies', name]
    if (name === '' || name.includes('/')) problems.add(path, "a policy's name may not be empty or contain `/`: it is compared with the first path segment of keys")
    if (isRecord(policy)) checkPolicy(policy, tiers, path, problems)
  }
}

function checkPolicy(policy: JsonSchema, tiers: readonly string[], path: Path, problems: ProblemList): void {
  const example = tiers[0] === undefined ? '' : `, such as \`${tiers[0]}: true\``
  const unknown = Object.keys(policy).filter((key) => key !== 'ttl' && key !== 'codec' && !tiers.includes(key))
  for (const key of unknown) {
    const suggestion = nearMiss(key, [...tiers, 'ttl', 'codec'])
    if (suggestion === undefined && typeof policy[key] === 'boolean') {
      problems.add([...path, key], `no tier has that name; the tiers are ${oneOf(tiers)}`)
    } else {
      const problem = unknownKey([...path, key], [...tiers, 'ttl', 'codec'])
      problems.add(problem.path, suggestion === undefined ? problem.message : `no tier or setting has that name${didYouMean(suggestion)}`, { suggestion })
    }
  }
  if (unknown.length > 0 || tiers.length === 0) return
  if (!tiers.some((tier) => Object.hasOwn(policy, tier))) problems.add(path, `names no tier: name at least one${example}`)
  else if (tiers.every((tier) => policy[tier] === false)) problems.add(path, `uses no tier: every tier is false; set at least one to true${example}`)
}
