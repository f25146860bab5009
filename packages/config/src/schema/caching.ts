import { camelCase } from '../adapters/camel-case.js'
import { COMPRESSION_SCHEMA } from './compression.js'
import { choice, duration, filePath, flag, interval, map, size, text, ttl, wholeNumber } from './fields.js'
import type { JsonSchema } from './json-schema.js'

export const PRESET_NAMES = ['development', 'test', 'production'] as const

/** The codecs of core that a policy can name. */
export const CODEC_NAMES: readonly string[] = ['auto', 'bytes', 'buffer', 'utf8', 'json', 'v8']

/**
 * A tier's `config`: checked against its adapter's own schema, and left alone until that is known. Recognized by
 * identity.
 */
export const ADAPTER_CONFIG: JsonSchema = { type: ['object', 'null'], description: "The adapter's own settings." }

/** Of a tier, and of the `config` of those backends that take it there too. */
export const FALLBACK_SCHEMA: JsonSchema = map(
  'Memory that stands in while the backend cannot be reached, then dropped.',
  { max_entries: wholeNumber('The most entries kept there.', 1) },
  { required: ['max_entries'] },
)

export const TIER_SCHEMA: JsonSchema = map(
  'One tier: a backend at a place in the order, with its own limits.',
  {
    backend: text('`memory`, `local` (or `fs`), `redis`, `s3`, `gcs`, the name of a package, or the path of a module beginning with `./`.', {
      examples: ['memory', 'local', 'redis', 's3', 'gcs'],
    }),
    config: ADAPTER_CONFIG,
    max_ttl: ttl('The longest this tier serves an entry after taking it in. Default: as long as the entry lives; 1m for memory above a shared tier.'),
    default_ttl: ttl('Time to live where neither call nor policy gives one. Default: the default_ttl of `caching`.'),
    budget: interval('How long an operation may go without progress. Default: 250ms for memory and redis, 1s for local, 5s for others.'),
    max_payload_bytes: size("Larger payloads are not stored in this tier. Default: the backend's own limit."),
    attempts: wholeNumber('Attempts for what the backend calls retryable, the first included.', 1, { default: 2 }),
    max_records: wholeNumber('The most invalidations recorded for later while the tier cannot take them.', 1, { default: 100_000 }),
    fallback: FALLBACK_SCHEMA,
  },
  { required: ['backend'] },
)

/** A tier in a policy. */
export const TIER_USE_SCHEMA: JsonSchema = {
  ...map('How the policy uses this tier: false not at all, true written and read, or in detail.', {
    write: choice(
      '`through`: awaited. `back`: in the background, from the journal of a disk above. `around`: filled by promotion only. `demote`: filled by what the tiers above evict for space.',
      ['through', 'back', 'around', 'demote'],
      'through',
    ),
    ttl: ttl("Time to live in this tier, instead of the policy's."),
    promote: flag('Whether a hit in a slower tier is copied here.', true),
  }),
  type: ['boolean', 'object'],
  expected: 'true, false or a map of write, ttl and promote',
}

/** As in core: `type/subtype`, and parameters. */
const MEDIA_TYPE = '^[A-Za-z0-9_!#$&^.+-]+/[A-Za-z0-9_!#$&^.+-]+(\\s*;[ -~]*)?$'

const POLICY_OWN: Readonly<Record<string, JsonSchema>> = {
  ttl: ttl("Time to live; null for ever. Default: the tier's default_ttl, then that of `caching`."),
  codec: choice('How values become bytes.', CODEC_NAMES, 'auto'),
  compression: COMPRESSION_SCHEMA,
  content_type: text("The media type of the payloads, for stores that other tools read. Default: by metadata, the key's extension or the codec.", {
    pattern: MEDIA_TYPE,
    maxLength: 200,
    expected: 'a media type such as image/jpeg',
    examples: ['image/jpeg', 'application/json', 'video/mp4'],
  }),
  stale_while_revalidate: duration('For so long after its ttl a value is served at once, while one refresh runs in the background. Default: off.'),
  stale_if_error: duration('For so long after its ttl a value is served when the compute fails or outlives hard_timeout. Default: off.'),
  soft_timeout: interval('With a usable stale value at hand callers wait so long for the compute, and then get that value; the compute goes on and is stored. Default: off.'),
  hard_timeout: interval("After so long a compute's signal is aborted, what it returns is dropped, and callers get an error, or a usable stale value. Default: off."),
  early_refresh: {
    ...map('Refreshes in the background before the ttl is over, by chance: the sooner the dearer the compute was.', {
      beta: { type: 'number', exclusiveMinimum: 0, default: 1, description: 'The greater, the sooner.' },
    }),
    type: ['boolean', 'object'],
    expected: 'true, false or a map of beta',
  },
  jitter: { type: 'number', minimum: 0, maximum: 0.5, default: 0, description: 'The part by which a ttl is shortened at random, so that what was stored together does not end together.' },
  error_ttl: duration('For so long a failed compute of a key is remembered in the process and its error thrown again, without computing. Default: off.'),
  lock: {
    ...map('Processes that are coordinated share one compute of a key: who finds that another one makes it waits. false: each computes for itself.', {
      wait: interval('How long it waits at most. Default: the hard_timeout, else 30s.'),
    }),
    type: ['boolean', 'object'],
    default: true,
    expected: 'true, false or a map of wait',
  },
  foreign_objects: choice("Objects in a bucket that others put in an entry's place. `adopt`: raw bytes that never expire. `ignore`: a miss.", ['adopt', 'ignore'], 'ignore'),
}

/** What a policy may say besides how it uses each tier. */
export const POLICY_SETTINGS: readonly string[] = Object.keys(POLICY_OWN)

/** What a policy or a call says, in either spelling, so that no tier may have the name; and what objects take for themselves. */
export const RESERVED_TIER_NAMES: readonly string[] = [
  ...new Set(['tiers', ...POLICY_SETTINGS.flatMap((name) => [name, camelCase(name)]), 'write', 'promote', 'tags', 'metadata', 'policy', 'signal', '__proto__']),
]

/** What is kept until the slow tiers have it. */
export const WRITE_BACK_SCHEMA: JsonSchema = map('Uploads of what policies write back: where and how much of it is kept until the slow tiers have it.', {
  directory: filePath('Where pending uploads are kept, relative to the working directory; `~` is the home directory. Default: in the directory of the disk tier.'),
  max_size: size('The most bytes of pending uploads; beyond, sets are written through.', 1, { default: '1gb' }),
  max_entries: wholeNumber('The most pending uploads; beyond, sets are written through.', 1, { default: 10_000 }),
  concurrency: wholeNumber('Uploads at once, for each tier.', 1, { default: 4 }),
})

export interface CachingSchemaOptions {
  /** The tiers that policies may name; `undefined`: any name. */
  readonly tiers?: readonly string[] | undefined
  /** Codecs besides core's own. */
  readonly codecs?: readonly string[] | undefined
}

/** The schema of what stands below `caching`. */
export function cachingSchema({ tiers, codecs = [] }: CachingSchemaOptions = {}): JsonSchema {
  const own = codecs.length === 0 ? POLICY_OWN : { ...POLICY_OWN, codec: choice('How values become bytes.', [...CODEC_NAMES, ...codecs], 'auto') }
  const policy =
    tiers === undefined
      ? map('How one data type is cached, by tier name.', own, { additionalProperties: TIER_USE_SCHEMA })
      : map('How one data type is cached, by tier name.', { ...Object.fromEntries(tiers.map((tier) => [tier, TIER_USE_SCHEMA])), ...own })
  return map(
    'The cache: its tiers, fastest first, and how each data type uses them.',
    {
      $schema: text('Where this schema is, for editors.'),
      preset: choice('Settings to begin with; own keys override them.', PRESET_NAMES),
      enabled: flag('false: nothing is read or stored, every getOrCompute computes.', true),
      default_ttl: ttl('Time to live where neither call, policy nor tier gives one.', { default: '1h' }),
      tiers: { type: 'object', minProperties: 1, expected: 'a map of at least one tier', description: 'By name, fastest first.', additionalProperties: TIER_SCHEMA },
      policies: { type: 'object', description: "By name. A key uses the policy named like its first path segment, else `default`.", additionalProperties: policy },
      coordination: {
        ...map('Whether processes that share a tier agree about who makes a value, and tell each other what they invalidate. `auto`: over the first redis tier, else the first local one.', {
          tier: text('The tier over which they agree. Default: the first one that can.'),
          max_staleness: interval('For so long a process that cannot hear others serves what it keeps itself; at least 500ms. Default: 1m.'),
        }),
        type: ['string', 'boolean', 'object'],
        pattern: '^(auto|off)$',
        default: 'auto',
        expected: 'auto, off or a map of tier and max_staleness',
      },
      refresh_concurrency: wholeNumber('How many keys are refreshed in the background at once.', 1, { default: 32 }),
      write_back: WRITE_BACK_SCHEMA,
      telemetry: map('How the cache shows itself through OpenTelemetry.', {
        tenant_attribute: flag("Adds `tenant` to the metrics' attributes: one time series per tenant.", false),
        spans: choice('`parented`: a synchronous hit makes a span only under a recording parent. `all`: always.', ['parented', 'all'], 'parented'),
      }),
    },
    { required: ['tiers'], patternProperties: { '^x-': {} } },
  )
}
