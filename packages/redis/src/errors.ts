import { CacheError, isCacheError, type CacheErrorCode } from '@thermocline/backend'

/** What the first word of an error reply means for the cache. https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors */
const BY_REPLY: ReadonlyMap<string, CacheErrorCode> = new Map<string, CacheErrorCode>([
  ['OOM', 'storage-full'],
  ['READONLY', 'read-only'],
  ['MISCONF', 'read-only'],
  ['NOREPLICAS', 'read-only'],
  ['LOADING', 'unavailable'],
  ['BUSY', 'unavailable'],
  ['MASTERDOWN', 'unavailable'],
  ['CLUSTERDOWN', 'unavailable'],
  ['NOAUTH', 'access-denied'],
  ['WRONGPASS', 'access-denied'],
  ['NOPERM', 'access-denied'],
  ['WRONGTYPE', 'foreign'],
])

const ADVICE: Readonly<Partial<Record<string, string>>> = {
  OOM: 'the server is at its maxmemory: give it an eviction policy such as allkeys-lru, or more memory',
  READONLY: 'this server is a replica',
  MISCONF: 'the server cannot save to its disk and refuses writes: see stop-writes-on-bgsave-error',
  NOAUTH: 'the server wants a password',
  MOVED: 'this server is a node of a cluster: give its nodes as cluster',
  CROSSSLOT: 'this server is a node of a cluster: give its nodes as cluster',
  WRONGPASS: 'check username and password',
  NOPERM: "check the user's rights: it needs GET, MGET, GETRANGE, SET, UNLINK, SCAN and PING on keys under keyPrefix, and SELECT where db is not 0",
}

const CONNECTION_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ECONNABORTED', 'EADDRNOTAVAIL', 'ENOENT', 'EACCES',
])
/** What the client says when there is no connection, or no longer one. */
const CONNECTION_MESSAGES = /connection is closed|stream isn't writeable|all sentinels are unreachable|cluster isn't ready|failed to refresh slots cache|connect etimedout|socket (?:closed|hang up)|connection was left/i
const UNSENT = /stream isn't writeable|cluster isn't ready/i
const REPLY_WORD = /^([A-Z]{2,})\b/
/** Before version 7 a script that fails says first where: the word of the command that it failed with comes behind. */
const WORD_IN_SCRIPT = /^ERR Error running script .*?(?:: -|: )([A-Z]{2,}) (?!.*: -)/s
/** Rights that a script lacks are an error without a word of its own: as 7.2 says it, and as earlier ones do. */
const DENIED_IN_SCRIPT = /^ERR .*(?:ACL failure in script|user executing the script can't)/s
/** What a service does not offer, and a server before the version that has it. */
const NOT_OFFERED = /^ERR (?:unknown (?:sub)?command|.*unknown redis command called from|.*\bcommand is not (?:supported|allowed))/is

function wordOf(message: string): string {
  return DENIED_IN_SCRIPT.test(message) ? 'NOPERM' : WORD_IN_SCRIPT.exec(message)?.[1] ?? REPLY_WORD.exec(message)?.[1] ?? ''
}

/**
 * What an error of the client means for the cache.
 *
 * @param isCluster then a lost connection is one of several, and the next attempt finds out who has the slot now
 */
export function asRedisError(error: unknown, operation: string, key: string | undefined, isCluster: boolean): CacheError {
  if (isCacheError(error)) return error
  const { message, code } = partsOf(error)
  const word = wordOf(message)
  const meaning = BY_REPLY.get(word) ?? (error instanceof OutOfStep || isConnectionProblem(message, code) ? 'unavailable' : 'failed')
  const advice = ADVICE[word]
  return new CacheError(meaning, `${operation} on redis failed: ${message}${advice === undefined ? '' : ` (${advice})`}`, {
    operation,
    backend: 'redis',
    key,
    retryable: word === 'TRYAGAIN' || (isCluster && meaning === 'unavailable' && word === ''),
    cause: error,
  })
}

/** Why a connection could not be had. The server may be there and refuse us: it is of no use all the same. */
export function asConnectionError(error: unknown): CacheError {
  if (isCacheError(error)) return error
  const { message } = partsOf(error)
  const advice = ADVICE[wordOf(message)]
  return new CacheError('unavailable', `no connection to redis: ${message}${advice === undefined ? '' : ` (${advice})`}`, { operation: 'connect', backend: 'redis', cause: error })
}

/** A server answered something else than it was asked. The connection must not be used any more. */
export class OutOfStep extends Error {
  /** @param what it answered instead */
  constructor(what = 'a reply that does not belong to the request') {
    super(`the server sent ${what}; the connection was left`)
  }
}

/** A server sent what is no answer to anything, or more than anybody asked for. None of it has reached the client. */
export class StrangeReply extends Error {
  constructor(what: string) {
    super(`the server sent ${what}; the connection was left`)
  }
}

/** Whether a server has said so, and whatever was asked has come to its end there. */
export function isAnswer(error: unknown): boolean {
  return REPLY_WORD.test(partsOf(error).message)
}

/** Whether it was never sent. */
export function isUnsent(error: unknown): boolean {
  return UNSENT.test(partsOf(error).message)
}

/** Whether the client says that there is no connection any more, and not why. */
export function isClosed(error: unknown): boolean {
  return partsOf(error).message === 'Connection is closed.'
}

/** Whether the server will not do what was asked, today and tomorrow: this user may not, or nobody may. */
export function isRefusal(error: unknown): boolean {
  const { message } = partsOf(error)
  return wordOf(message) === 'NOPERM' || NOT_OFFERED.test(message)
}

export function isReply(error: unknown, word: string): boolean {
  return partsOf(error).message.startsWith(word)
}

function isConnectionProblem(message: string, code: string | undefined): boolean {
  return (code !== undefined && CONNECTION_CODES.has(code)) || CONNECTION_MESSAGES.test(message)
}

function partsOf(error: unknown): { message: string; code: string | undefined } {
  const { message, code, lastNodeError } = (typeof error === 'object' && error !== null ? error : {}) as { message?: unknown; code?: unknown; lastNodeError?: unknown }
  // what the last node of a cluster said tells more than that all of them failed
  if (lastNodeError !== undefined && lastNodeError !== null) return partsOf(lastNodeError)
  const text = typeof message === 'string' && message !== '' ? message : String(typeof code === 'string' ? code : error)
  return { message: text, code: typeof code === 'string' ? code : undefined }
}
