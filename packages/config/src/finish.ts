import type { PolicyOptions, TierUse, WriteBackOptions } from '@thermocline/core'
import type { BuiltIn, Settings } from './adapters/built-in-adapter.js'
import { camelCase } from './adapters/camel-case.js'
import type { AdapterSchemas, CacheConfiguration, TierConfiguration } from './configuration.js'
import type { Draft, DraftTier } from './draft.js'
import { POLICY_SETTINGS, TIER_SCHEMA } from './schema/caching.js'
import { isRecord } from './schema/json-schema.js'
import { propertyNames } from './schema/keywords.js'
import { bytesOf } from './schema/size.js'
import { validateForeign, validateOwn } from './schema/validate.js'

/** The adapters' own settings with variables put in, by the name of the tier. */
export type Configs = ReadonlyMap<string, Settings>

/**
 * Checks what a draft leaves, the adapters' own settings. What is wrong is in the draft's problems then.
 *
 * @param foreign schemas of third parties' adapters; a tier whose adapter's schema is not known is not checked further
 */
export function checkConfigs(draft: Draft, foreign: AdapterSchemas): Configs {
  return new Map(draft.tiers.map((tier) => [tier.name, checkedConfig(tier, draft, foreign)]))
}

/**
 * Gives the configuration the names that core's options have.
 *
 * @throws ConfigError with every problem found since the text was read
 */
export function finish(draft: Draft, configs: Configs): CacheConfiguration {
  draft.problems.throwIfAny()
  const { enabled, default_ttl: defaultTtl, policies, coordination, refresh_concurrency: refreshConcurrency, write_back: writeBack, telemetry } = draft.caching
  return {
    enabled: enabled !== false,
    ...given<Pick<CacheConfiguration, 'defaultTtl' | 'coordination' | 'refreshConcurrency'>>({ defaultTtl, coordination: coordinationOption(coordination), refreshConcurrency }),
    tiers: Object.fromEntries(draft.tiers.map((tier) => [tier.name, tierConfiguration(tier, configs.get(tier.name) ?? {}, draft.builtIn(tier.backend ?? ''))])),
    policies: isRecord(policies) ? Object.fromEntries(Object.entries(policies).map(([name, policy]) => [name, policyOptions(policy as Settings)])) : {},
    ...(isRecord(writeBack) ? { writeBack: writeBackOptions(writeBack) } : {}),
    telemetry: isRecord(telemetry) ? given({ tenantAttribute: telemetry['tenant_attribute'], spans: telemetry['spans'] }) : {},
  }
}

function checkedConfig({ name, at, settings, backend }: DraftTier, draft: Draft, foreign: AdapterSchemas): Settings {
  const { problems, resolver } = draft
  const path = [...at, 'config']
  if (backend === 'memory' && Object.hasOwn(settings, 'fallback')) problems.add([...at, 'fallback'], 'is memory, and so is this tier: leave it out')
  if (backend === undefined || problems.has(path)) return {}
  const builtIn = draft.builtIn(backend)
  const schema = builtIn?.configSchema ?? foreign.get(backend) ?? {}
  const config = resolver.resolve(settings['config'] ?? {}, schema, path)
  const where = { at: path, written: draft.written }
  try {
    const wrong = builtIn === undefined ? validateForeign(config, schema, where) : validateOwn(config, schema, where)
    for (const { path: wrongAt, message, suggestion } of wrong) problems.add(wrongAt, message, { suggestion })
    // what no schema can say is asked only about settings of the right types
    if (wrong.length === 0) for (const one of builtIn?.wrong?.(config as Settings) ?? []) problems.add([...path, ...one.path], one.message)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    problems.add([...at, 'backend'], `the configSchema of this adapter is no JSON Schema: ${reason}; tell its author`, { cause })
  }
  if (!isRecord(config)) return {}
  for (const key of builtIn === undefined ? [] : ofTheTier(builtIn)) {
    if (Object.hasOwn(config, key) && Object.hasOwn(settings, key)) problems.add([...path, key], `is given twice, here and as ${key} of the tier ${name}: give one of them`)
  }
  return config
}

/** Settings that a built-in adapter takes in its `config` and that are the tier's own. */
function ofTheTier({ configSchema }: BuiltIn): readonly string[] {
  return propertyNames(configSchema).filter((key) => propertyNames(TIER_SCHEMA).includes(key))
}

function tierConfiguration({ settings, backend = '' }: DraftTier, config: Settings, builtIn: BuiltIn | undefined): TierConfiguration {
  const moved = builtIn === undefined ? [] : ofTheTier(builtIn)
  const entries = Object.entries(config)
  const own: Settings = { ...settings, ...Object.fromEntries(entries.filter(([key]) => moved.includes(key))) }
  const fallback = own['fallback'] as { readonly max_entries: number } | undefined
  return {
    backend,
    config: Object.fromEntries(entries.filter(([key]) => !moved.includes(key))),
    ...given<Omit<TierConfiguration, 'backend' | 'config'>>({
      maxTtl: own['max_ttl'],
      defaultTtl: own['default_ttl'],
      budget: own['budget'],
      maxPayloadBytes: bytesOf(own['max_payload_bytes']),
      attempts: own['attempts'],
      maxRecords: own['max_records'],
      fallback: fallback === undefined ? undefined : { maxEntries: fallback.max_entries },
    }),
  }
}

/** What is no setting of a policy is how it uses a tier. */
function policyOptions(policy: Settings): PolicyOptions {
  const entries = Object.entries(policy)
  const own = entries.filter(([name]) => POLICY_SETTINGS.includes(name)).map(([name, value]) => [camelCase(name), value])
  const tiers = entries.filter(([name]) => !POLICY_SETTINGS.includes(name))
  return { tiers: Object.fromEntries(tiers) as Readonly<Record<string, TierUse>>, ...given<Omit<PolicyOptions, 'tiers'>>(Object.fromEntries(own) as Settings) }
}

function coordinationOption(value: unknown): unknown {
  if (value === 'off') return false
  return isRecord(value) ? given({ tier: value['tier'], maxStaleness: value['max_staleness'] }) : value
}

function writeBackOptions({ directory, max_size, max_entries: maxEntries, concurrency }: Settings): WriteBackOptions {
  return given({ directory, maxBytes: bytesOf(max_size), maxEntries, concurrency })
}

/** What is present of some properties. Their types were checked by the schema. */
function given<T extends object>(properties: Readonly<Record<string, unknown>>): T {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as T
}
