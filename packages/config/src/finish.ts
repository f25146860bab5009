import type { PolicyOptions, TierUse } from '@thermocline/core'
import { BUILT_IN } from './adapters/built-in.js'
import type { AdapterSchemas, CacheConfiguration, TierConfiguration } from './configuration.js'
import type { Draft, DraftTier } from './draft.js'
import { isRecord } from './schema/json-schema.js'
import { bytesOf } from './schema/size.js'
import { validateForeign, validateOwn } from './schema/validate.js'

type Settings = Readonly<Record<string, unknown>>

/**
 * Checks what is left, the adapters' own settings, and gives the configuration the names that core's options have.
 *
 * @param foreign schemas of third parties' adapters; a tier whose adapter's schema is not known is not checked further
 * @throws ConfigError with every problem found since the text was read
 */
export function finish(draft: Draft, foreign: AdapterSchemas): CacheConfiguration {
  const configs = new Map(draft.tiers.map((tier) => [tier.name, checkedConfig(tier, draft, foreign)]))
  draft.problems.throwIfAny()
  const { enabled, default_ttl: defaultTtl, policies, telemetry } = draft.caching
  return {
    enabled: enabled !== false,
    ...given<Pick<CacheConfiguration, 'defaultTtl'>>({ defaultTtl }),
    tiers: Object.fromEntries(draft.tiers.map((tier) => [tier.name, tierConfiguration(tier, configs.get(tier.name) ?? {})])),
    policies: isRecord(policies) ? Object.fromEntries(Object.entries(policies).map(([name, policy]) => [name, policyOptions(policy as Settings)])) : {},
    telemetry: isRecord(telemetry) ? given({ tenantAttribute: telemetry['tenant_attribute'], spans: telemetry['spans'] }) : {},
  }
}

function checkedConfig({ name, at, settings, backend }: DraftTier, { problems, resolver }: Draft, foreign: AdapterSchemas): Settings {
  const path = [...at, 'config']
  if (backend === undefined || problems.has(path)) return {}
  const builtIn = BUILT_IN.get(backend)
  const schema = builtIn?.configSchema ?? foreign.get(backend) ?? {}
  const config = resolver.resolve(settings['config'] ?? {}, schema, path)
  const where = { at: path, variables: resolver.variablesIn }
  try {
    const wrong = builtIn === undefined ? validateForeign(config, schema, where) : validateOwn(config, schema, where)
    for (const { path: wrongAt, message, suggestion } of wrong) problems.add(wrongAt, message, { suggestion })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    problems.add([...at, 'backend'], `the configSchema of this adapter is no JSON Schema: ${reason}; tell its author`, { cause })
  }
  if (!isRecord(config)) return {}
  if (builtIn !== undefined && Object.hasOwn(config, 'default_ttl') && Object.hasOwn(settings, 'default_ttl')) {
    problems.add([...path, 'default_ttl'], `is given twice, here and as default_ttl of the tier ${name}: give one of them`)
  }
  return config
}

function tierConfiguration({ settings, backend = '' }: DraftTier, config: Settings): TierConfiguration {
  const { default_ttl: ownTtl, ...rest } = config
  const isBuiltIn = BUILT_IN.has(backend)
  return {
    backend,
    config: isBuiltIn ? rest : config,
    ...given<Omit<TierConfiguration, 'backend' | 'config'>>({
      maxTtl: settings['max_ttl'],
      defaultTtl: settings['default_ttl'] ?? (settings['default_ttl'] === null ? null : isBuiltIn ? ownTtl : undefined),
      budget: settings['budget'],
      maxPayloadBytes: bytesOf(settings['max_payload_bytes']),
      attempts: settings['attempts'],
      maxRecords: settings['max_records'],
    }),
  }
}

function policyOptions({ ttl, codec, ...tiers }: Settings): PolicyOptions {
  return { tiers: tiers as Readonly<Record<string, TierUse>>, ...given<Omit<PolicyOptions, 'tiers'>>({ ttl, codec }) }
}

/** What is present of some properties. Their types were checked by the schema. */
function given<T extends object>(properties: Readonly<Record<string, unknown>>): T {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as T
}
