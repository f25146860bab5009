import type { S3Client, StorageClass } from '@aws-sdk/client-s3'
import { checkKnown, isObject, kindOfOption } from '@thermocline/backend'
import { checkLifecycleRules, checkObjectPrefix, type LifecycleRule } from '@thermocline/object-store'
import type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from './credentials.js'

export interface S3BackendOptions {
  /** The name of the bucket, which has to exist. */
  readonly bucket: string
  /** Default: what the AWS SDK finds in `AWS_REGION` or its configuration file; with an `endpoint` and neither, `us-east-1`. */
  readonly region?: string | undefined
  /** The address of a compatible store: `http://localhost:9000`. Default: Amazon's own, by region. */
  readonly endpoint?: string | undefined
  /** What the name of every object begins with, before `tenants/`. Default: nothing. */
  readonly prefix?: string | undefined
  /** The storage class of new objects, such as `STANDARD_IA` or `INTELLIGENT_TIERING`. Default: the store's own. */
  readonly storageClass?: string | undefined
  /** Whether the bucket stands in the path instead of the host name, as many compatible stores need. Default false. */
  readonly forcePathStyle?: boolean | undefined
  /** Default: where the AWS SDK looks for them, within the request that needs them. */
  readonly credentials?: AwsCredentialIdentity | AwsCredentialIdentityProvider | undefined
  /** `WHEN_SUPPORTED`: a CRC-32 goes with every object, and the store checks it. `WHEN_REQUIRED`: none, for stores that refuse the header. Default `WHEN_SUPPORTED`. */
  readonly requestChecksumCalculation?: 'WHEN_SUPPORTED' | 'WHEN_REQUIRED' | undefined
  /**
   * `WHEN_SUPPORTED`: the SDK checks what it reads against the store's checksum too. Default `WHEN_REQUIRED`: the checksum in the
   * entry's own metadata is checked anyhow, faster.
   */
  readonly responseChecksumValidation?: 'WHEN_SUPPORTED' | 'WHEN_REQUIRED' | undefined
  /** How the store encrypts new objects. Default: as the bucket says. */
  readonly serverSideEncryption?: 'AES256' | 'aws:kms' | undefined
  /** The key for `aws:kms`: its id, ARN or alias. Default: the account's. */
  readonly sseKmsKeyId?: string | undefined
  /** The most connections to the store. Default 64. */
  readonly maxSockets?: number | undefined
  /** The bucket's lifecycle for our objects as it ought to be: compared after start and a difference is reported; changed only by `applyLifecycle()`. */
  readonly lifecycleRules?: readonly LifecycleRule[] | undefined
  /** An `S3Client` of yours, which stays open. Its own settings hold: what concerns connections, region and credentials may not be given beside it. */
  readonly client?: S3Client | undefined
}

export interface CheckedOptions extends S3BackendOptions {
  readonly prefix: string
  readonly storageClass: StorageClass | undefined
  readonly sendsChecksums: boolean
  readonly maxSockets: number
  readonly lifecycleRules: readonly LifecycleRule[]
}

const DEFAULT_MAX_SOCKETS = 64
const CHECKSUMS = ['WHEN_SUPPORTED', 'WHEN_REQUIRED']
const ENCRYPTIONS = ['AES256', 'aws:kms']
/** What a client of the user's decides by itself. */
const OF_THE_CLIENT = ['region', 'endpoint', 'forcePathStyle', 'credentials', 'maxSockets', 'responseChecksumValidation'] as const

const KNOWN: readonly (keyof S3BackendOptions)[] = [
  'bucket', 'region', 'endpoint', 'prefix', 'storageClass', 'forcePathStyle', 'credentials', 'requestChecksumCalculation', 'responseChecksumValidation', 'serverSideEncryption', 'sseKmsKeyId', 'maxSockets', 'lifecycleRules', 'client',
]
/** What the SDK's own providers find has more than we speak of. */
const KNOWN_OF_CREDENTIALS = ['accessKeyId', 'secretAccessKey', 'sessionToken', 'expiration', 'credentialScope', 'accountId', '$source']

/** @throws TypeError that names the option, what it was and the rule */
export function checkOptions(given: S3BackendOptions): CheckedOptions {
  const options: unknown = given
  if (!isObject(options)) throw new TypeError(`new S3Backend(options) needs an object such as { bucket: 'artifacts' }, not ${kindOfOption(given)}`)
  checkKnown(options, KNOWN, 'new S3Backend(options)')
  const { bucket, endpoint, credentials, maxSockets = DEFAULT_MAX_SOCKETS, client, serverSideEncryption, sseKmsKeyId } = given
  if (typeof bucket !== 'string' || bucket === '') throw new TypeError(`bucket must be the name of a bucket, not ${kindOfOption(bucket)}`)
  const prefix = checkObjectPrefix(given.prefix)
  for (const name of ['region', 'storageClass', 'sseKmsKeyId'] as const) nonEmptyText(given[name], name)
  if (endpoint !== undefined && !isAddress(endpoint)) throw new TypeError(`endpoint must be an address such as http://localhost:9000, not ${kindOfOption(endpoint)}`)
  oneOf(given.requestChecksumCalculation, 'requestChecksumCalculation', CHECKSUMS)
  oneOf(given.responseChecksumValidation, 'responseChecksumValidation', CHECKSUMS)
  oneOf(serverSideEncryption, 'serverSideEncryption', ENCRYPTIONS)
  if (sseKmsKeyId !== undefined && serverSideEncryption !== 'aws:kms') throw new TypeError("sseKmsKeyId belongs to serverSideEncryption: 'aws:kms'")
  if (given.forcePathStyle !== undefined && typeof given.forcePathStyle !== 'boolean') throw new TypeError(`forcePathStyle must be true or false, not ${kindOfOption(given.forcePathStyle)}`)
  if (isObject(credentials) && typeof credentials !== 'function') checkKnown(credentials, KNOWN_OF_CREDENTIALS, 'credentials')
  if (credentials !== undefined && !areCredentials(credentials)) throw new TypeError(`credentials must be { accessKeyId, secretAccessKey } or a function that finds them, not ${kindOfOption(credentials)}`)
  if (!Number.isSafeInteger(maxSockets) || maxSockets < 1) throw new TypeError(`maxSockets must be a positive whole number, not ${kindOfOption(maxSockets)}`)
  if (client !== undefined) checkClient(client, given)
  return {
    ...given,
    prefix,
    storageClass: given.storageClass as StorageClass | undefined,
    sendsChecksums: given.requestChecksumCalculation !== 'WHEN_REQUIRED',
    maxSockets,
    lifecycleRules: checkLifecycleRules(given.lifecycleRules),
  }
}

function checkClient(client: unknown, options: S3BackendOptions): void {
  if (!isObject(client) || typeof client['send'] !== 'function' || !isObject(client['config'])) throw new TypeError(`client must be an S3Client of @aws-sdk/client-s3, not ${kindOfOption(client)}`)
  for (const name of OF_THE_CLIENT) if (options[name] !== undefined) throw new TypeError(`${name} may not be given beside client: the client has its own`)
}

function isAddress(endpoint: unknown): boolean {
  return typeof endpoint === 'string' && /^https?:\/\/[^/]/.test(endpoint) && URL.canParse(endpoint)
}

function areCredentials(credentials: unknown): boolean {
  return typeof credentials === 'function' || (isObject(credentials) && typeof credentials['accessKeyId'] === 'string' && typeof credentials['secretAccessKey'] === 'string')
}

function oneOf(value: unknown, option: string, allowed: readonly string[]): void {
  if (value !== undefined && !allowed.includes(value as string)) throw new TypeError(`${option} must be ${allowed.join(' or ')}, not ${kindOfOption(value)}`)
}

function nonEmptyText(value: unknown, option: string): void {
  if (value !== undefined && (typeof value !== 'string' || value === '')) throw new TypeError(`${option} must be a non-empty string, not ${kindOfOption(value)}`)
}
