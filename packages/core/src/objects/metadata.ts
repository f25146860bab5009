import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { EpochMs } from '../clock/clock.js'
import type { CacheEntry, EntryDetails, EntryFields, Metadata } from '../contract/entry.js'
import type { TenantScope } from '../contract/scope.js'
import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'

/*
 * What an object store keeps beside a plain object: the entry's header as the store's own metadata, so that one request puts both
 * and a HEAD tells all but the payload. Names are lower case and values printable ASCII, because S3 sends them as HTTP headers; other
 * text is base64url of its UTF-8, or of that deflated where it is shorter.
 *
 *   tc-format       1
 *   tc-tenant       whose it is             tc-key          the full key
 *   tc-codec        how to read the bytes   tc-bytes        how many there are
 *   tc-crc32        their checksum, eight hex digits; `store`: only the store's own checksum holds
 *   tc-created      epoch milliseconds      tc-expires      the same, or `never`
 *   tc-keep-until, tc-stale, tc-fence, tc-compute-us, tc-tags, tc-metadata, tc-type: where there is something to say
 */

/** S3: names and values together. Cloud Storage takes four times as much. */
export const MAX_OBJECT_METADATA_BYTES = 2048
/** What is left of it for the user's own when key and tenant are as long as they may be. */
export const MAX_USER_METADATA_BYTES = 512
const FORMAT = '1'
const PRINTABLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** The payload of an object, as far as it is known when its metadata is written. */
export interface ObjectPayload {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
}

/** An object's metadata, read. */
export interface ObjectHeader extends EntryFields {
  readonly payload: ObjectPayload
  readonly keepUntil: EpochMs
}

/** What metadata can turn out to be; `plain`: there is nothing of ours in it. */
export type ObjectReading = { readonly status: 'ok'; readonly header: ObjectHeader } | { readonly status: 'plain' } | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/**
 * The metadata of an entry's object, without the store's prefix of the names (`x-amz-meta-`).
 *
 * @throws CacheError `not-encodable` when it is more than a store takes
 */
export function encodeObjectMetadata(scope: TenantScope, key: ValidKey, entry: CacheEntry, keepUntil: EpochMs, payload: ObjectPayload): Record<string, string> {
  const { details } = entry
  const metadata: Record<string, string> = {
    'tc-format': FORMAT,
    'tc-tenant': encodeText(scope.tenant),
    'tc-key': encodeText(key),
    'tc-codec': encodeText(payload.codec),
    'tc-crc32': payload.crc32 === undefined ? 'store' : payload.crc32.toString(16).padStart(8, '0'),
    'tc-created': instant(entry.createdAt),
    'tc-expires': instant(entry.expiresAt),
  }
  if (payload.byteLength !== undefined) metadata['tc-bytes'] = String(payload.byteLength)
  if (keepUntil < entry.expiresAt) metadata['tc-keep-until'] = instant(keepUntil)
  if (entry.computeMicros > 0) metadata['tc-compute-us'] = String(entry.computeMicros)
  if (details?.staleAt !== undefined) metadata['tc-stale'] = instant(details.staleAt)
  if (details?.fence !== undefined) metadata['tc-fence'] = String(details.fence)
  if (details?.tags !== undefined) metadata['tc-tags'] = encodeText(JSON.stringify(details.tags))
  if (details?.metadata !== undefined) metadata['tc-metadata'] = encodeText(JSON.stringify(details.metadata))
  if (details?.contentType !== undefined) metadata['tc-type'] = encodeText(details.contentType)
  let bytes = 0
  for (const name in metadata) bytes += name.length + (metadata[name] as string).length
  if (bytes <= MAX_OBJECT_METADATA_BYTES) return metadata
  throw new CacheError('not-encodable', `key, tags and metadata of the entry make ${bytes} bytes of object metadata, and at most ${MAX_OBJECT_METADATA_BYTES} fit: give it fewer or shorter tags`, {
    operation: 'put',
    tenant: scope.tenant,
    key,
  })
}

/**
 * Reads an object's metadata, whatever the case of its names.
 *
 * @param key whose entry it ought to be; `undefined`: any key of the tenant
 */
export function decodeObjectMetadata(metadata: Readonly<Record<string, unknown>> | undefined, scope: TenantScope, key: ValidKey | undefined): ObjectReading {
  const fields = new Fields(metadata ?? {})
  const format = fields.raw('tc-format')
  if (format === undefined) return { status: 'plain' }
  if (format !== FORMAT) return { status: 'foreign', reason: `the format ${JSON.stringify(format)} of its metadata is not known here` }
  const crc = fields.raw('tc-crc32')
  const codec = fields.text('tc-codec')
  const createdAt = fields.instant('tc-created')
  const expiresAt = fields.instant('tc-expires')
  const byteLength = fields.number('tc-bytes')
  const keepUntil = fields.instant('tc-keep-until')
  const details: EntryDetails = given({
    keepUntil,
    staleAt: fields.instant('tc-stale'),
    fence: fields.number('tc-fence'),
    tags: fields.json<readonly string[]>('tc-tags'),
    metadata: fields.json<Metadata>('tc-metadata'),
    contentType: fields.text('tc-type'),
  })
  const computeMicros = fields.number('tc-compute-us')
  const tenant = fields.text('tc-tenant')
  const ownKey = fields.text('tc-key')
  const known = crc === 'store' ? undefined : crc === undefined || !/^[\da-f]{8}$/.test(crc) ? Number.NaN : Number.parseInt(crc, 16)
  if (fields.broken || codec === undefined || createdAt === undefined || expiresAt === undefined || Number.isNaN(known)) {
    return { status: 'corrupt', reason: 'its metadata is incomplete' }
  }
  if (tenant !== scope.tenant || (key !== undefined && ownKey !== key) || ownKey === undefined) return { status: 'foreign', reason: 'it belongs to another tenant or key' }
  return {
    status: 'ok',
    header: {
      createdAt,
      expiresAt,
      computeMicros,
      details: Object.keys(details).length === 0 ? undefined : details,
      keepUntil: keepUntil ?? expiresAt,
      payload: { codec, byteLength, crc32: known },
    },
  }
}

/** The key that an object's metadata names. */
export function keyInMetadata(metadata: Readonly<Record<string, unknown>> | undefined): string | undefined {
  return new Fields(metadata ?? {}).text('tc-key')
}

/**
 * The media type of an entry's object: the policy's, else the one in its metadata (`content-type` or `contentType`), else by the key's
 * extension, else by the codec.
 *
 * @param byExtension what a table of media types says of a key
 */
export function contentTypeOf(key: string, codec: string, details: EntryDetails | undefined, byExtension: (key: string) => string | undefined): string {
  const { contentType, metadata } = details ?? {}
  const own = contentType ?? metadata?.['content-type'] ?? metadata?.['contentType'] ?? metadata?.['Content-Type']
  if (own !== undefined && PRINTABLE.test(own)) return own
  return byExtension(key) ?? BY_CODEC[codec.split('+', 1)[0] as string] ?? 'application/octet-stream'
}

const BY_CODEC: Readonly<Record<string, string>> = { json: 'application/json', utf8: 'text/plain; charset=utf-8' }

/** The `Content-Encoding` of a codec's bytes; `undefined`: they are not compressed. */
export function contentEncodingOf(codec: string): string | undefined {
  const compression = codec.slice(codec.indexOf('+') + 1)
  return compression === codec ? undefined : compression
}

class Fields {
  broken = false
  readonly #values = new Map<string, string>()

  constructor(metadata: Readonly<Record<string, unknown>>) {
    for (const [name, value] of Object.entries(metadata)) if (typeof value === 'string') this.#values.set(name.toLowerCase(), value)
  }

  raw(name: string): string | undefined {
    return this.#values.get(name)
  }

  text(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const text = decodeText(value)
    if (text === undefined) this.broken = true
    return text
  }

  number(name: string): number | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const number = Number(value)
    if (value !== '' && Number.isFinite(number)) return number
    this.broken = true
    return undefined
  }

  instant(name: string): EpochMs | undefined {
    return this.raw(name) === 'never' ? Number.POSITIVE_INFINITY : this.number(name)
  }

  json<T>(name: string): T | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    try {
      return JSON.parse(text) as T
    } catch {
      this.broken = true
      return undefined
    }
  }
}

function instant(at: EpochMs): string {
  return at === Number.POSITIVE_INFINITY ? 'never' : String(at)
}

/** `=u:` and `=z:` mark what is encoded; no plain text begins so. */
function encodeText(text: string): string {
  if (PRINTABLE.test(text) && !text.startsWith('=')) return text
  const bytes = Buffer.from(text, 'utf8')
  const deflated = deflateRawSync(bytes)
  return deflated.byteLength < bytes.byteLength ? `=z:${deflated.toString('base64url')}` : `=u:${bytes.toString('base64url')}`
}

function decodeText(value: string): string | undefined {
  try {
    if (value.startsWith('=u:')) return Buffer.from(value.slice(3), 'base64url').toString('utf8')
    if (value.startsWith('=z:')) return inflateRawSync(Buffer.from(value.slice(3), 'base64url'), { maxOutputLength: 1 << 20 }).toString('utf8')
    return value
  } catch {
    return undefined
  }
}

function given<T extends object>(properties: T): T {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as T
}
