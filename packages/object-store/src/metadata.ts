import { deflateRawSync, inflateRawSync } from 'node:zlib'
import {
  CacheError,
  isCodecName,
  isCount,
  isInstant,
  isKey,
  isMetadata,
  isTags,
  storedInstant,
  type CacheEntry,
  type EntryDetails,
  type EntryFields,
  type EpochMs,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { lookup } from 'mrmime'

/*
 * What an object store keeps beside a plain object: the entry's header as the store's own metadata, so that one request puts both
 * and a HEAD tells all but the payload. Names are lower case and values printable ASCII, because S3 sends them as HTTP headers; other
 * text is base64url of its UTF-8, or of that deflated where it is shorter.
 *
 *   tc-entry        1; codec=json; bytes=48211; crc32=9bd366ae; created=1763726400000; expires=1766318400000
 *   tc-tenant       whose it is
 *   tc-key          the full key
 *   tc-tags, tc-metadata, tc-type: where there is something to say
 *
 * One field holds all that only machines read, because each field of its own is a header to be signed, sent, stored and read. It begins
 * with the format. `crc32` is eight hex digits, or `store`: only the store's own checksum holds. Instants are epoch milliseconds or
 * `never`. `bytes`, `plain`, `keep-until`, `stale-ms`, `fence` and `compute-us` are there where there is something to say; names that are not
 * known are passed over.
 */

/** S3: names and values together. Cloud Storage takes four times as much. */
export const MAX_OBJECT_METADATA_BYTES = 2048
/** What is left of it for the user's own when key and tenant are as long as they may be. */
export const MAX_USER_METADATA_BYTES = 512
const FORMAT = '1'
const PRINTABLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/
/** The same without what ends a part of `tc-entry`. */
const LISTABLE = /^[\x21-\x3a\x3c-\x7e]+$/

/** The payload of an object, as far as it is known when its metadata is written. */
export interface ObjectPayload {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  /** Bytes of a compressed payload before it was compressed, where that is known. */
  readonly plainBytes?: number | undefined
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
    'tc-entry': entryField(entry, keepUntil, payload),
    'tc-tenant': encodeText(scope.tenant),
    'tc-key': encodeText(key),
  }
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
  const entry = fieldOf(metadata, 'tc-entry')
  if (metadata === undefined || entry === undefined) return { status: 'plain' }
  const fields = new Fields(metadata, entry)
  if (fields.format !== FORMAT) return { status: 'foreign', reason: `the format ${JSON.stringify(fields.format)} of its metadata is not known here` }
  const { codec, createdAt, expiresAt, keepUntil, byteLength, computeMicros } = fields
  const details = fields.details()
  const tenant = fields.text('tc-tenant')
  const ownKey = fields.text('tc-key')
  if (fields.broken || codec === undefined || !isCodecName(codec) || createdAt === undefined || expiresAt === undefined || fields.checksum === undefined) {
    return { status: 'corrupt', reason: 'its metadata is incomplete or says what cannot be' }
  }
  if (tenant !== scope.tenant || (key !== undefined && ownKey !== key) || ownKey === undefined) return { status: 'foreign', reason: 'it belongs to another tenant or key' }
  const crc32 = fields.checksum === 'store' ? undefined : fields.checksum
  return { status: 'ok', header: { createdAt, expiresAt, computeMicros, details, keepUntil: keepUntil ?? expiresAt, payload: { codec, byteLength, crc32, ...(fields.plainBytes === undefined ? {} : { plainBytes: fields.plainBytes }) } } }
}

/** The key that an object's metadata names. */
export function keyInMetadata(metadata: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const value = fieldOf(metadata, 'tc-key')
  const key = value === undefined ? undefined : decodeText(value)
  return key !== undefined && isKey(key) ? key : undefined
}

/**
 * The media type of an entry's object: the policy's, else the one in its metadata (`content-type` or `contentType`), else by the key's
 * extension, else by the codec.
 */
export function contentTypeOf(key: string, codec: string, details: EntryDetails | undefined): string {
  const { contentType, metadata } = details ?? {}
  const own = contentType ?? metadata?.['content-type'] ?? metadata?.['contentType'] ?? metadata?.['Content-Type']
  if (own !== undefined && PRINTABLE.test(own)) return own
  return byExtension(key) ?? BY_CODEC[codec.split('+', 1)[0] as string] ?? 'application/octet-stream'
}

const BY_CODEC: Readonly<Record<string, string>> = { json: 'application/json', utf8: 'text/plain; charset=utf-8' }

/** A key without an extension has no type by it: the table would take `png` for one, and `constructor` for a function. */
function byExtension(key: string): string | undefined {
  const last = key.slice(key.lastIndexOf('/') + 1)
  const type: unknown = last.includes('.') ? lookup(last) : undefined
  return typeof type === 'string' ? type : undefined
}

/** What any tool can undo, by its names in an entry, which are those of HTTP. https://www.iana.org/assignments/http-parameters/#content-coding */
const CONTENT_ENCODINGS: ReadonlySet<string> = new Set(['gzip', 'br', 'zstd'])

/** The `Content-Encoding` of a codec's bytes; `undefined`: they are not compressed, or something was done to them that no other tool can undo. */
export function contentEncodingOf(codec: string): string | undefined {
  const steps = codec.split('+').slice(1)
  return steps.length > 0 && steps.every((step) => CONTENT_ENCODINGS.has(step)) ? steps.join(', ') : undefined
}

/** All that machines read. */
function entryField(entry: CacheEntry, keepUntil: EpochMs, payload: ObjectPayload): string {
  const { codec, byteLength, crc32 } = payload
  const { details, createdAt, expiresAt, computeMicros } = entry
  const plainBytes = payload.plainBytes ?? entry.encoded?.plainBytes
  let text = `${FORMAT}; codec=${encodeText(codec, LISTABLE)}`
  if (byteLength !== undefined) text += `; bytes=${byteLength}`
  if (plainBytes !== undefined) text += `; plain=${plainBytes}`
  text += `; crc32=${crc32 === undefined ? 'store' : crc32.toString(16).padStart(8, '0')}; created=${instant(createdAt)}; expires=${instant(expiresAt)}`
  if (keepUntil < expiresAt) text += `; keep-until=${instant(keepUntil)}`
  if (details?.staleMs !== undefined) text += `; stale-ms=${details.staleMs}`
  if (details?.fence !== undefined) text += `; fence=${details.fence}`
  if (computeMicros > 0) text += `; compute-us=${computeMicros}`
  return text
}

/** A field, whatever the case of its name. */
function fieldOf(metadata: Readonly<Record<string, unknown>> | undefined, name: string): string | undefined {
  const value = metadata?.[name]
  if (typeof value === 'string') return value
  for (const other in metadata) {
    const said = other.length === name.length && other.toLowerCase() === name ? metadata[other] : undefined
    if (typeof said === 'string') return said
  }
  return undefined
}

/** What metadata says, as it is read. */
class Fields {
  readonly format: string
  codec: string | undefined
  byteLength: number | undefined
  plainBytes: number | undefined
  checksum: number | 'store' | undefined
  createdAt: EpochMs | undefined
  expiresAt: EpochMs | undefined
  keepUntil: EpochMs | undefined
  computeMicros: number | undefined
  /** Something is there that cannot be read. */
  broken = false
  #staleMs: number | undefined
  #fence: number | undefined
  readonly #metadata: Readonly<Record<string, unknown>>

  constructor(metadata: Readonly<Record<string, unknown>>, entry: string) {
    this.#metadata = metadata
    const [format = '', ...parts] = entry.split(';')
    this.format = format.trim()
    if (this.format !== FORMAT) return
    for (const part of parts) {
      const at = part.indexOf('=')
      this.#take(part.slice(0, Math.max(at, 0)).trim(), part.slice(at + 1).trim())
    }
  }

  /** `undefined`: there are none. */
  details(): EntryDetails | undefined {
    const { keepUntil } = this
    const staleMs = this.#staleMs
    const fence = this.#fence
    const tags = this.#json('tc-tags', isTags)
    const metadata = this.#json('tc-metadata', isMetadata)
    const contentType = this.text('tc-type')
    if (keepUntil === undefined && staleMs === undefined && fence === undefined && tags === undefined && metadata === undefined && contentType === undefined) return undefined
    return { keepUntil, staleMs, fence, tags, metadata, contentType }
  }

  text(name: string): string | undefined {
    const value = fieldOf(this.#metadata, name)
    return value === undefined ? undefined : this.#decoded(value)
  }

  #take(name: string, value: string): void {
    switch (name) {
      case 'codec':
        this.codec = this.#decoded(value)
        break
      case 'bytes':
        this.byteLength = this.#number(value)
        break
      case 'plain':
        this.plainBytes = this.#number(value)
        break
      case 'crc32':
        this.checksum = value === 'store' ? value : this.#crc32(value)
        break
      case 'created':
        this.createdAt = this.#whole(value)
        break
      case 'expires':
        this.expiresAt = this.#instant(value)
        break
      case 'keep-until':
        this.keepUntil = this.#instant(value)
        break
      case 'stale-ms':
        this.#staleMs = this.#number(value)
        break
      case 'fence':
        this.#fence = this.#number(value)
        break
      case 'compute-us':
        this.computeMicros = this.#number(value)
        break
    }
  }

  #decoded(value: string): string | undefined {
    const text = decodeText(value)
    if (text === undefined) this.broken = true
    return text
  }

  /** A whole number that is not negative. */
  #number(value: string): number | undefined {
    const number = this.#whole(value)
    if (number === undefined || isCount(number)) return number
    this.broken = true
    return undefined
  }

  #whole(value: string): number | undefined {
    const number = /^-?\d{1,16}$/.test(value) ? Number(value) : Number.NaN
    if (isInstant(number)) return number
    this.broken = true
    return undefined
  }

  #instant(value: string): EpochMs | undefined {
    return value === 'never' ? Number.POSITIVE_INFINITY : this.#whole(value)
  }

  #crc32(value: string): number | undefined {
    if (/^[\da-f]{8}$/.test(value)) return Number.parseInt(value, 16)
    this.broken = true
    return undefined
  }

  #json<T>(name: string, isRight: (value: unknown) => value is T): T | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    try {
      const value: unknown = JSON.parse(text)
      if (isRight(value)) return value
      throw new TypeError(`${name} is of another shape`)
    } catch {
      this.broken = true
      return undefined
    }
  }
}

function instant(at: EpochMs): string {
  const stored = storedInstant(at)
  return stored === Number.POSITIVE_INFINITY ? 'never' : String(stored)
}

/** `=u:` and `=z:` mark what is encoded; no plain text begins so. */
function encodeText(text: string, plain = PRINTABLE): string {
  if (plain.test(text) && !text.startsWith('=')) return text
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
