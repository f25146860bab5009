export { GcsBackend } from './gcs-backend.js'
export type { GcsBackendOptions, GcsClient, GcsCredentials } from './options.js'
export type { AppliedLifecycle } from './lifecycle.js'
export type { GcsLifecycleRule } from './lifecycle-rules.js'
