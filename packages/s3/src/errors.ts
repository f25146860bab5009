import { CacheError, isCacheError, messageOf, type CacheErrorCode } from '@thermocline/backend'
import { givenUp, isOfConnection, isUnanswered, LANDS_WITHIN_MS, type Place } from '@thermocline/object-store'

/** What the code in an error response means for the cache. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const BY_CODE: ReadonlyMap<string, CacheErrorCode> = new Map<string, CacheErrorCode>([
  ['NoSuchBucket', 'bucket-missing'],
  ['PermanentRedirect', 'wrong-region'],
  ['IllegalLocationConstraintException', 'wrong-region'],
  ['RequestTimeTooSkewed', 'clock-skew'],
  ['InvalidObjectState', 'archived'],
  ['SlowDown', 'throttled'],
  ['TooManyRequests', 'throttled'],
  ['TooManyRequestsException', 'throttled'],
  ['Throttling', 'throttled'],
  ['ThrottlingException', 'throttled'],
  ['RequestLimitExceeded', 'throttled'],
  ['BandwidthLimitExceeded', 'throttled'],
  ['RequestTimeout', 'unavailable'],
  ['TimeoutError', 'unavailable'],
  ['QuotaExceeded', 'storage-full'],
  ['XMinioStorageFull', 'storage-full'],
  ['XMinioAdminBucketQuotaExceeded', 'storage-full'],
  ['CredentialsProviderError', 'access-denied'],
  ['ExpiredToken', 'access-denied'],
  ['InvalidToken', 'access-denied'],
])

const ADVICE: Readonly<Partial<Record<CacheErrorCode, string>>> = {
  'bucket-missing': 'create the bucket, or correct its name',
  'access-denied': 'check the credentials and what they may do: s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket',
  'clock-skew': "this machine's clock is more than 15 minutes off: set it",
  archived: 'restore the object, or let lifecycle rules move objects only to classes that can be read at once',
  'storage-full': 'raise the quota, or let entries expire',
}

/** The store is there, but something on the way to it, or in it, failed: the next attempt may succeed. */
const RETRYABLE: ReadonlySet<CacheErrorCode> = new Set<CacheErrorCode>(['throttled', 'unavailable'])
/** Two writers met: the store asks for another attempt. */
const CONFLICTS: ReadonlySet<string> = new Set(['ConditionalRequestConflict', 'OperationAborted'])

const CONNECTION_MESSAGES = /^aborted$|socket hang up|premature close|Client network socket disconnected/i

/** The SDK wraps what it takes for no error: Node's own errors, where tests run in a realm of their own, as with jest. Their codes are lost. */
const WRAPPER = /^AWS SDK error wrapper for (\w+): ([^]*)$/
const SYSTEM_CODE = /\b(E[A-Z]{3,}(?:_[A-Z]+)*)\b/

/** The parts of what the SDK throws that mean something here. */
interface Thrown {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
  readonly status: number | undefined
  /** The region in which the bucket is, where the store says so. */
  readonly region: string | undefined
  readonly clockWasCorrected: boolean
}

/** What an error of the client means for the cache. */
export function asS3Error(error: unknown, { operation, tenant, key }: Place): CacheError {
  if (isCacheError(error)) return error
  const thrown = partsOf(error)
  const code = codeOf(thrown)
  const advice = code === 'wrong-region' ? regionAdvice(thrown) : thrown.message === 'Region is missing' ? 'give region, or set AWS_REGION' : ADVICE[code]
  return new CacheError(code, `${operation} on s3 failed: ${textOf(thrown)}${advice === undefined ? '' : ` (${advice})`}`, {
    operation,
    backend: 's3',
    tenant,
    key,
    // the SDK has seen the server's time in the refusal, and signs the next request by it
    landsWithinMs: operation === 'put' && isUnanswered(code, thrown.status, thrown.code) ? LANDS_WITHIN_MS : undefined,
    retryable: RETRYABLE.has(code) || CONFLICTS.has(thrown.name) || (code === 'clock-skew' && thrown.clockWasCorrected),
    cause: error,
  })
}

/** What an error inside an answer of `DeleteObjects` means: it has a code and a message, and no status. */
export function codeOfDeletion(code: string): CacheErrorCode {
  return codeOf({ name: code, message: '', code: undefined, status: code === 'AccessDenied' ? 403 : code === 'InternalError' || code === 'ServiceUnavailable' ? 500 : undefined, region: undefined, clockWasCorrected: false })
}

export function isRetryable(code: CacheErrorCode): boolean {
  return RETRYABLE.has(code)
}

/** The status of the response; `undefined`: there was none. */
export function statusOf(error: unknown): number | undefined {
  return partsOf(error).status
}

/** The code in the response, or the name of what the SDK threw. */
export function nameOf(error: unknown): string {
  return partsOf(error).name
}

/** There is no such object; that there is no such bucket only an answer with a body says, and a HEAD has none. */
export function isNotFound(error: unknown): boolean {
  const { status, name } = partsOf(error)
  return status === 404 && name !== 'NoSuchBucket'
}

/** Somebody else was first, or what is there is not what it was taken for. */
export function isPreconditionFailed(error: unknown): boolean {
  return statusOf(error) === 412
}

/** A 403 that does not say what is wrong with the request itself: the key may be forbidden, or absent where listing is. */
export function isForbidden(error: unknown): boolean {
  const { status, name, clockWasCorrected } = partsOf(error)
  return status === 403 && !clockWasCorrected && (name === 'AccessDenied' || name === 'Forbidden' || name === 'Unknown' || name === 'UnknownError' || name === '403')
}

/** The caller does not wait any more. @param isSent whether a change was sent whole: it may still be carried out */
export function abandoned(signal: AbortSignal, place: Place, isSent = false): CacheError {
  return givenUp('s3', signal, place, isSent)
}

function codeOf({ name, message, code, status, region, clockWasCorrected }: Thrown): CacheErrorCode {
  const known = BY_CODE.get(name) ?? (clockWasCorrected ? 'clock-skew' : undefined)
  if (known !== undefined) return known
  if ((status === 301 || status === 307 || status === 400) && region !== undefined) return 'wrong-region'
  if (status === 301) return 'wrong-region'
  if (message === 'Region is missing') return 'misconfigured'
  if (status === 401 || status === 403) return 'access-denied'
  if (status === 429) return 'throttled'
  if (status === 507) return 'storage-full'
  if (status !== undefined && status >= 500 && status !== 501) return 'unavailable'
  if (status === undefined && (isOfConnection(code) || CONNECTION_MESSAGES.test(message))) return 'unavailable'
  return 'failed'
}

function regionAdvice({ region }: Thrown): string {
  return region === undefined ? 'the bucket is in another region: give its own' : `the bucket is in ${region}: give region: '${region}'`
}

/** Some stores send a code and no message, and a HEAD has neither. */
function textOf({ name, message, status, code }: Thrown): string {
  if (status === undefined) return message === '' ? (code ?? name) : message
  const said = message === '' || message === 'UnknownError' ? '' : `: ${message}`
  return `${name === 'Unknown' || name === 'UnknownError' ? 'the store answered' : name} ${status}${said}`
}

function partsOf(error: unknown): Thrown {
  const given = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly name?: unknown
    readonly code?: unknown
    readonly Region?: unknown
    readonly $metadata?: { readonly httpStatusCode?: unknown; readonly clockSkewCorrected?: unknown }
    readonly $response?: { readonly headers?: Readonly<Record<string, unknown>> }
  }
  const wrapped = WRAPPER.exec(messageOf(error))
  const message = wrapped?.[2] ?? messageOf(error)
  const region = given.Region ?? given.$response?.headers?.['x-amz-bucket-region']
  return {
    name: wrapped?.[1] ?? (typeof given.name === 'string' ? given.name : 'Error'),
    message,
    code: typeof given.code === 'string' ? given.code : wrapped === null ? undefined : SYSTEM_CODE.exec(message)?.[1],
    status: typeof given.$metadata?.httpStatusCode === 'number' ? given.$metadata.httpStatusCode : undefined,
    region: typeof region === 'string' && region !== '' ? region : undefined,
    clockWasCorrected: given.$metadata?.clockSkewCorrected === true,
  }
}
