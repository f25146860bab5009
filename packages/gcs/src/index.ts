export { GcsBackend } from './gcs-backend.js'
export type { GcsBackendOptions, GcsClient, GcsCredentials } from './options.js'
export type { AppliedLifecycle } from './lifecycle.js'
export type { LifecycleRule } from './lifecycle-rules.js'
