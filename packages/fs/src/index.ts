export { FileSystemBackend } from './fs-backend.js'
export type { FileSystemBackendOptions } from './options.js'
