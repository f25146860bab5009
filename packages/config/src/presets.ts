import type { ConfigurationInput } from './configuration.js'

/** Settings to begin with: `caching: { preset: production }` in a file, or `loadCache({ preset: 'test' })`. */
export const presets = {
  /** Memory above a directory in the project, which survives restarts. */
  development: {
    default_ttl: '1h',
    tiers: {
      hot: { backend: 'memory', config: { max_size: '64mb' } },
      warm: { backend: 'local', config: { base_path: '.thermocline', max_size: '1gb' } },
    },
  },
  /** Memory only, and little of it: nothing outlives the process. */
  test: {
    default_ttl: '5m',
    tiers: {
      hot: { backend: 'memory', config: { max_entries: 1000, max_size: '16mb' } },
    },
  },
  /** Memory above a directory, both with limits. */
  production: {
    default_ttl: '1h',
    tiers: {
      hot: { backend: 'memory', config: { max_size: '256mb' } },
      warm: { backend: 'local', config: { base_path: '/var/cache/thermocline', max_size: '10gb', cleanup_interval: '1h' } },
    },
  },
} as const satisfies Readonly<Record<string, ConfigurationInput>>

/** The name of a preset. */
export type PresetName = keyof typeof presets
