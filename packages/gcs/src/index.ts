export { GcsBackend } from './gcs-backend.js'
export type { GcsBackendOptions, GcsClient, GcsCredentials } from './options.js'
export type { AppliedLifecycle, LifecycleRule } from '@thermocline/object-store'
