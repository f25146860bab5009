import { checkKnown, isObject, kindOfOption } from '@thermocline/backend'
import { checkLifecycleRules, checkObjectPrefix, ObjectNames, type LifecycleRule } from '@thermocline/object-store'
import { bucketRulesOf, STORAGE_CLASSES, type BucketRule } from './lifecycle-rules.js'

/** As much of a `Storage` of `@google-cloud/storage`, 7 or 8, as the backend uses: where it sends to, and as whom. */
export interface GcsClient {
  readonly apiEndpoint: string
  readonly customEndpoint: boolean
  readonly useAuthWithCustomEndpoint?: boolean | undefined
  readonly authClient: { getRequestHeaders(url?: string): Promise<object> }
}

/** A service account's key, or another kind of credentials, as Google's JSON files have them. */
export type GcsCredentials = Readonly<Record<string, unknown>>

export interface GcsBackendOptions {
  /** The name of the bucket, which has to exist. */
  readonly bucket: string
  /** The project. Default: that of the credentials. Reader and writes do not need it. */
  readonly projectId?: string | undefined
  /** The address of the service. Default: what `STORAGE_EMULATOR_HOST` says, else `https://storage.googleapis.com`. */
  readonly apiEndpoint?: string | undefined
  /** A `Storage` of `@google-cloud/storage`: its address and credentials are used, and it stays as it is. Instead of `projectId`, `apiEndpoint`, `credentials`, `keyFilename` and `anonymous`. */
  readonly client?: GcsClient | undefined
  /** What the name of every object begins with, a slash comes after it. Default: nothing, so that names begin with `tenants/`. */
  readonly prefix?: string | undefined
  /** The storage class of new objects. Default: the bucket's. */
  readonly storageClass?: string | undefined
  /** Default: where the Google client looks for them (`GOOGLE_APPLICATION_CREDENTIALS`, `gcloud`, the machine's own). */
  readonly credentials?: GcsCredentials | undefined
  /** A file with credentials. */
  readonly keyFilename?: string | undefined
  /** Whether requests are sent without credentials, and none are looked for. Default: true where the address begins with `http:`, as an emulator's does. */
  readonly anonymous?: boolean | undefined
  /** The most connections. Default 64. */
  readonly maxSockets?: number | undefined
  /** The bucket's lifecycle as it ought to be: compared after the start, and a difference is reported. Changed only by `applyLifecycle()`. */
  readonly lifecycleRules?: readonly LifecycleRule[] | undefined
}

export interface CheckedOptions {
  readonly bucket: string
  /** Origin of the service, such as `https://storage.googleapis.com`. */
  readonly endpoint: URL
  readonly anonymous: boolean
  readonly client: GcsClient | undefined
  /** What the Google client is made with, where there is none and somebody has to have credentials. */
  readonly account: { readonly projectId?: string; readonly credentials?: GcsCredentials; readonly keyFilename?: string }
  readonly names: ObjectNames
  readonly storageClass: string | undefined
  readonly maxSockets: number
  readonly lifecycleRules: readonly BucketRule[]
}

const GOOGLE = 'https://storage.googleapis.com'
const DEFAULT_MAX_SOCKETS = 64
/** https://cloud.google.com/storage/docs/buckets#naming */
const BUCKET = /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/
const OWN_ACCOUNT = ['projectId', 'apiEndpoint', 'credentials', 'keyFilename', 'anonymous'] as const

const KNOWN: readonly (keyof GcsBackendOptions)[] = ['bucket', 'projectId', 'apiEndpoint', 'client', 'prefix', 'storageClass', 'credentials', 'keyFilename', 'anonymous', 'maxSockets', 'lifecycleRules']

/** @throws TypeError that names the option, what it was and the rule */
export function checkOptions(given: GcsBackendOptions): CheckedOptions {
  const options: unknown = given
  if (!isObject(options)) throw new TypeError(`new GcsBackend(options) needs an object such as { bucket: 'artifacts' }, not ${kindOfOption(given)}`)
  checkKnown(options, KNOWN, 'new GcsBackend(options)')
  const { bucket, client, storageClass, maxSockets = DEFAULT_MAX_SOCKETS } = given
  if (typeof bucket !== 'string' || !BUCKET.test(bucket)) {
    throw new TypeError(`bucket must be the name of a bucket, 3 to 222 of a-z, 0-9, dot, dash and underscore, not ${typeof bucket === 'string' && bucket !== '' ? JSON.stringify(bucket) : kindOfOption(bucket)}`)
  }
  if (storageClass !== undefined && !STORAGE_CLASSES.includes(storageClass)) throw new TypeError(`storageClass must be one of ${STORAGE_CLASSES.join(', ')}, not ${named(storageClass)}`)
  if (!(Number.isInteger(maxSockets) && maxSockets > 0)) throw new TypeError(`maxSockets must be a positive whole number, not ${kindOfOption(maxSockets)}`)
  const names = new ObjectNames(checkObjectPrefix(given.prefix))
  return { bucket, names, storageClass, maxSockets, lifecycleRules: bucketRulesOf(checkLifecycleRules(given.lifecycleRules, STORAGE_CLASSES), names), ...(client === undefined ? own(given) : theirs(client, given)) }
}

type Access = Pick<CheckedOptions, 'endpoint' | 'anonymous' | 'client' | 'account'>

function own({ projectId, apiEndpoint, credentials, keyFilename, anonymous }: GcsBackendOptions): Access {
  text(projectId, 'projectId')
  text(keyFilename, 'keyFilename')
  if (credentials !== undefined && !isObject(credentials)) throw new TypeError(`credentials must be an object, as a file of Google's has it, not ${kindOfOption(credentials)}`)
  if (anonymous !== undefined && typeof anonymous !== 'boolean') throw new TypeError(`anonymous must be true or false, not ${kindOfOption(anonymous)}`)
  if (credentials !== undefined && keyFilename !== undefined) throw new TypeError('give one of credentials and keyFilename, not both')
  if (anonymous === true && (credentials !== undefined || keyFilename !== undefined)) throw new TypeError('anonymous must not be true together with credentials or keyFilename: they would not be used')
  const fromEnvironment = process.env['STORAGE_EMULATOR_HOST']
  const endpoint =
    apiEndpoint !== undefined
      ? address(apiEndpoint, 'apiEndpoint')
      : fromEnvironment !== undefined && fromEnvironment !== ''
        ? address(/^https?:/.test(fromEnvironment) ? fromEnvironment : `http://${fromEnvironment}`, 'STORAGE_EMULATOR_HOST')
        : new URL(GOOGLE)
  const wantsAccount = credentials !== undefined || keyFilename !== undefined
  return {
    endpoint,
    anonymous: anonymous ?? (!wantsAccount && endpoint.protocol === 'http:'),
    client: undefined,
    account: { ...(projectId === undefined ? {} : { projectId }), ...(credentials === undefined ? {} : { credentials }), ...(keyFilename === undefined ? {} : { keyFilename }) },
  }
}

function theirs(client: GcsClient, options: GcsBackendOptions): Access {
  const beside = OWN_ACCOUNT.filter((name) => options[name] !== undefined)
  if (beside.length > 0) throw new TypeError(`give ${beside.join(', ')} to the client instead of the backend`)
  const given: unknown = client
  if (!isObject(given) || typeof given['apiEndpoint'] !== 'string' || !isObject(given['authClient']) || typeof given['authClient']['getRequestHeaders'] !== 'function') {
    throw new TypeError(`client must be a Storage of @google-cloud/storage, not ${kindOfOption(given)}`)
  }
  return { endpoint: address(client.apiEndpoint, 'client.apiEndpoint'), anonymous: client.customEndpoint && client.useAuthWithCustomEndpoint !== true, client, account: {} }
}

function address(given: unknown, option: string): URL {
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw new TypeError(`${option} must be an address without a path, such as ${GOOGLE} or http://localhost:4443, not ${typeof given === 'string' ? 'something else' : kindOfOption(given)}`)
  }
  return url
}

function text(value: unknown, option: string): void {
  if (value !== undefined && (typeof value !== 'string' || value === '')) throw new TypeError(`${option} must be a non-empty string, not ${kindOfOption(value)}`)
}

function named(value: unknown): string {
  return typeof value === 'string' && value !== '' ? JSON.stringify(value) : kindOfOption(value)
}
