import type { CacheAdapter } from '@thermocline/config'
import { LevelBackend } from './level-backend.js'

export { LevelBackend, type LevelOptions } from './level-backend.js'

interface LevelConfig {
  readonly path: string
  readonly sweep_interval?: number | string
}

export const cacheAdapter: CacheAdapter<LevelConfig> = {
  name: 'level',
  configSchema: {
    type: 'object',
    properties: {
      path: { type: 'string', minLength: 1 },
      sweep_interval: { type: ['number', 'string'] },
    },
    required: ['path'],
    additionalProperties: false,
  },
  create: (config) => new LevelBackend({ path: config.path, sweepInterval: config.sweep_interval }),
}
