import { freshUntilOf, type EpochMs, type TenantScope, type ValidKey } from '@thermocline/backend'
import { decodeObjectMetadata, type ObjectHeader } from './metadata.js'

/** What a store says of an object, with or without its payload. */
export interface FoundObject {
  /** The user's part of it. `undefined`: there is none. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined
  /** Of the stored bytes; `undefined`: the answer does not say. */
  readonly byteLength: number | undefined
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  readonly updatedAt: EpochMs
}

/** What an object turned out to be; `isOurs` is false for one that was adopted. */
export type Recognized =
  | { readonly status: 'ok'; readonly header: ObjectHeader; readonly isOurs: boolean }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/** Compressions that the manager's codecs undo. */
const COMPRESSIONS: ReadonlySet<string> = new Set(['gzip', 'br', 'zstd'])

/**
 * Whether an object is an entry.
 *
 * @param key whose entry it ought to be; `undefined`: any key of the tenant
 * @param adopt whether an object that is not ours is an entry of raw bytes
 */
export function recognize(found: FoundObject, scope: TenantScope, key: ValidKey | undefined, adopt: boolean): Recognized {
  const reading = decodeObjectMetadata(found.metadata, scope, key)
  if (reading.status === 'plain') return adopt ? adopted(found) : { status: 'foreign', reason: 'it has no metadata of ours' }
  if (reading.status !== 'ok') return reading
  const { byteLength } = reading.header.payload
  if (byteLength !== undefined && found.byteLength !== undefined && found.byteLength !== byteLength) {
    return { status: 'corrupt', reason: `it has ${found.byteLength} payload bytes instead of ${byteLength}` }
  }
  return { status: 'ok', header: reading.header, isOurs: true }
}

/** Whether what lies in an entry's place has to stay there: it is still fresh, or is not ours to judge. */
export function isKept(recognized: Recognized, now: EpochMs): boolean {
  return recognized.status === 'foreign' || (recognized.status === 'ok' && now < freshUntilOf(recognized.header))
}

/** An object whose `Content-Encoding` nothing here undoes stays foreign: nobody could read its bytes as what its type says. */
function adopted({ updatedAt, byteLength, contentEncoding, contentType }: FoundObject): Recognized {
  const encoding = contentEncoding === undefined || contentEncoding === '' || contentEncoding === 'identity' ? undefined : contentEncoding.toLowerCase()
  if (encoding !== undefined && !COMPRESSIONS.has(encoding)) return { status: 'foreign', reason: `nothing here undoes its Content-Encoding ${JSON.stringify(encoding)}` }
  const codec = encoding === undefined ? 'buffer' : `buffer+${encoding}`
  const details = contentType === undefined ? undefined : { contentType }
  const end = Number.POSITIVE_INFINITY
  return { status: 'ok', header: { createdAt: updatedAt, expiresAt: end, keepUntil: end, details, payload: { codec, byteLength, crc32: undefined } }, isOurs: false }
}
