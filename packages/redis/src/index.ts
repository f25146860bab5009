export { RedisBackend, type RedisStats } from './redis-backend.js'
export type { RedisAddress, RedisBackendOptions, RedisConnectionOptions } from './options.js'
export type { ServerInfo } from './server-info.js'
