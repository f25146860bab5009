import { decodeObjectMetadata, type ObjectPayload } from '@thermocline/object-store'
import type { EntryFields, EpochMs, TenantScope, ValidKey } from '@thermocline/backend'
import type { ObjectFacts } from './facts.js'

/** What an object turned out to be. */
export type Judged =
  | { readonly status: 'ok'; readonly fields: EntryFields; readonly payload: ObjectPayload; readonly keepUntil: EpochMs }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/** Compressions that core's codecs undo. */
const COMPRESSIONS: ReadonlySet<string> = new Set(['gzip', 'br', 'zstd'])

/** @param adopt whether an object that is not ours is an entry of raw bytes */
export function judge(facts: ObjectFacts, scope: TenantScope, key: ValidKey, adopt: boolean): Judged {
  const reading = decodeObjectMetadata(facts.metadata, scope, key)
  if (reading.status === 'plain') return adopt ? adopted(facts) : { status: 'foreign', reason: 'it has no metadata of ours' }
  if (reading.status !== 'ok') return reading
  const { header } = reading
  const { byteLength } = header.payload
  if (byteLength !== undefined && facts.byteLength !== undefined && facts.byteLength !== byteLength) {
    return { status: 'corrupt', reason: `it has ${facts.byteLength} payload bytes instead of ${byteLength}` }
  }
  return { status: 'ok', fields: header, payload: header.payload, keepUntil: header.keepUntil }
}

function adopted({ contentEncoding, contentType, byteLength, updatedAt }: ObjectFacts): Judged {
  const encoding = contentEncoding?.toLowerCase()
  const codec = encoding !== undefined && COMPRESSIONS.has(encoding) ? `buffer+${encoding}` : 'buffer'
  const details = contentType === undefined ? undefined : { contentType }
  const keepUntil = Number.POSITIVE_INFINITY
  return { status: 'ok', fields: { createdAt: updatedAt, expiresAt: keepUntil, details }, payload: { codec, byteLength, crc32: undefined }, keepUntil }
}
