export type { Access } from './access.js'
export { FileSystemBackend, type PruneOptions } from './fs-backend.js'
export type { FileSystemBackendOptions } from './options.js'
export type { Pruned } from './sweeper.js'
