import { CacheError, isCacheError, messageOf, type CacheErrorCode } from '@thermocline/backend'

/** Where a failure happened. */
export interface Place {
  readonly operation: string
  readonly tenant?: string | undefined
  readonly key?: string | undefined
}

/** For how long a server, or what stands before it, may still carry out a request whose answer did not come: milliseconds. */
export const LANDS_WITHIN_MS = 60_000

/** These came before anything was sent. */
const NOT_SENT: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'])

const CONNECTION_CODES: ReadonlySet<unknown> = new Set([...NOT_SENT, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'EPROTO', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_SOCKET_CLOSED'])

/** Whether a code of Node's says that the connection failed, or could not be made. */
export function isOfConnection(code: unknown): boolean {
  return CONNECTION_CODES.has(code)
}

/**
 * Whether a request was sent and what stands between has lost the answer.
 *
 * @param meaning what the failure means for the cache
 * @param status of the answer; `undefined`: there was none
 * @param code of Node's, where the connection failed
 */
export function isUnanswered(meaning: CacheErrorCode, status: number | undefined, code: unknown): boolean {
  if (status !== undefined) return status === 502 || status === 504
  return meaning === 'unavailable' && !NOT_SENT.has(code)
}

/**
 * The caller does not wait any more. Not `unavailable`: that the store is well is not in doubt.
 *
 * @param isSent whether a change was sent whole: it may still be carried out
 */
export function givenUp(backend: string, signal: AbortSignal, place: Place, isSent: boolean): CacheError {
  const reason: unknown = signal.reason
  const message = `${place.operation} on ${backend} was given up${isSent ? ' after it was sent' : ''}: ${messageOf(reason)}`
  if (isSent) return new CacheError('failed', message, { ...place, backend, landsWithinMs: LANDS_WITHIN_MS })
  return isCacheError(reason) ? reason : new CacheError('failed', message, { ...place, backend, cause: reason })
}
