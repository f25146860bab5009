import { CacheError, isCacheError, type CacheErrorCode } from '@thermocline/backend'
import { givenUp, isOfConnection, isUnanswered, LANDS_WITHIN_MS, type Place } from '@thermocline/object-store'

/** An answer that is a refusal. https://cloud.google.com/storage/docs/json_api/v1/status-codes */
export class Refusal extends Error {
  readonly status: number
  /** Google's word for it, such as `rateLimitExceeded` or `NoSuchBucket`; empty where the answer has none. */
  readonly reason: string

  constructor(status: number, reason: string, message: string) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.reason = reason
  }

  /** @param body JSON of the JSON API, XML of the XML API, or whatever stands between sends */
  static of(status: number, body: string): Refusal {
    const json = jsonOf(body)
    if (json?.error !== undefined) return new Refusal(status, json.error.errors?.[0]?.reason ?? '', json.error.message ?? `HTTP ${status}`)
    const code = /<Code>([^<]*)<\/Code>/.exec(body)?.[1]
    if (code !== undefined) return new Refusal(status, code, /<Details>([^<]*)<\/Details>/.exec(body)?.[1] ?? /<Message>([^<]*)<\/Message>/.exec(body)?.[1] ?? code)
    return new Refusal(status, '', `HTTP ${status}${body === '' ? '' : `: ${body.replace(/\s+/g, ' ').slice(0, 200)}`}`)
  }
}

const ADVICE: Readonly<Partial<Record<CacheErrorCode, string>>> = {
  'access-denied': 'the credentials need storage.objects.get, create, delete and list on the bucket',
  'bucket-missing': 'create the bucket, or correct its name',
  'clock-skew': 'set the clock of this machine',
  throttled: 'an object takes about one write a second, and a bucket that grows needs some minutes',
}

/**
 * What a failure means for the cache.
 *
 * @param mayRetry false where the same call cannot be made again, whatever failed
 * @param isSent false where the store cannot have got the whole request
 */
export function asGcsError(error: unknown, place: Place, mayRetry = true, isSent = true): CacheError {
  if (isCacheError(error)) return error
  const { code, retryable } = meaningOf(error)
  const advice = ADVICE[code]
  const message = `${place.operation} on gcs failed: ${messageOf(error)}${advice === undefined ? '' : ` (${advice})`}`
  const { code: failedWith } = (error ?? {}) as { readonly code?: unknown }
  const mayLand = place.operation === 'put' && isSent && isUnanswered(code, isNamedRefusal(error) ? error.status : undefined, failedWith)
  const landsWithinMs = mayLand ? LANDS_WITHIN_MS : undefined
  return new CacheError(code, message, { ...place, backend: 'gcs', retryable: retryable && mayRetry, landsWithinMs, cause: error })
}

/** The caller does not wait any more. @param isSent whether a change was sent whole: it may still be carried out */
export function abandoned(signal: AbortSignal, place: Place, isSent = false): CacheError {
  return givenUp('gcs', signal, place, isSent)
}

export function isRefusal(error: unknown, ...statuses: readonly number[]): error is Refusal {
  return isNamedRefusal(error) && statuses.includes(error.status)
}

/** By its name: there may be two copies of this package. */
function isNamedRefusal(error: unknown): error is Refusal {
  return typeof error === 'object' && error !== null && (error as { name?: unknown }).name === 'Refusal'
}

export function isBucketMissing(error: Refusal): boolean {
  return error.status === 404 && (error.reason === 'NoSuchBucket' || error.message.startsWith('The specified bucket does not exist'))
}

interface Meaning {
  readonly code: CacheErrorCode
  readonly retryable: boolean
}

function meaningOf(error: unknown): Meaning {
  if (isNamedRefusal(error)) return meaningOfRefusal(error)
  const { code } = (typeof error === 'object' && error !== null ? error : {}) as { code?: unknown }
  if (isOfConnection(code)) return { code: 'unavailable', retryable: true }
  if (code === 'ERR_CLOSED') return { code: 'closed', retryable: false }
  const message = messageOf(error)
  // from Google's client, while it looks for credentials
  if (/iat and exp|reasonable timeframe|clock/i.test(message)) return { code: 'clock-skew', retryable: false }
  if (/default credentials|invalid_grant|invalid_client|unauthorized|private key|ENOENT.*\.json|DECODER/i.test(message)) return { code: 'access-denied', retryable: false }
  return { code: 'failed', retryable: false }
}

function meaningOfRefusal(error: Refusal): Meaning {
  const { status, reason } = error
  if (status === 429 || /^(?:user)?rateLimitExceeded$|^SlowDown$/i.test(reason)) return { code: 'throttled', retryable: true }
  if (reason === 'RequestTimeTooSkewed') return { code: 'clock-skew', retryable: false }
  if (status === 401 || status === 403) return { code: 'access-denied', retryable: false }
  if (isBucketMissing(error)) return { code: 'bucket-missing', retryable: false }
  if (status === 408 || status >= 500) return { code: 'unavailable', retryable: status !== 501 }
  if (status === 409) return { code: 'failed', retryable: true } // the object was changed by somebody else at that moment
  return { code: 'failed', retryable: false }
}

function messageOf(error: unknown): string {
  const { message, code } = (typeof error === 'object' && error !== null ? error : {}) as { message?: unknown; code?: unknown }
  // several addresses refused: Node's error then has a code and no message
  return typeof message === 'string' && message !== '' ? message : String(typeof code === 'string' ? code : error)
}

interface GoogleError {
  readonly error?: { readonly message?: string; readonly errors?: readonly { readonly reason?: string }[] }
}

function jsonOf(body: string): GoogleError | undefined {
  try {
    const parsed = JSON.parse(body) as GoogleError | null
    return typeof parsed?.error === 'object' ? parsed : undefined
  } catch {
    return undefined
  }
}
