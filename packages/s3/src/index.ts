export { S3Backend } from './s3-backend.js'
export type { S3BackendOptions } from './options.js'
export type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from './credentials.js'
export type { AppliedLifecycle, LifecycleRule } from '@thermocline/object-store'
