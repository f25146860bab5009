/** The credentials of an AWS user or role, in the AWS SDK's own shape: repeated here, so that using this package needs no types of the SDK. */
export interface AwsCredentialIdentity {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  /** When they end and have to be found anew. */
  readonly expiration?: Date
}

/** Finds credentials; asked again when those it gave have expired. */
export type AwsCredentialIdentityProvider = () => Promise<AwsCredentialIdentity>
