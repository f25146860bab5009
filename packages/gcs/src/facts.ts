import type { IncomingHttpHeaders } from 'node:http'
import type { EpochMs } from '@thermocline/backend'
import type { FoundObject } from '@thermocline/object-store'

/** What the store says of an object. Its metadata are `undefined` where the answer has none, and is of a kind that might leave them out. */
export interface ObjectFacts extends FoundObject {
  /** Which writing of the object it is: conditions name it. */
  readonly generation: string
  /** In base64, of the stored bytes. Composed objects have no MD5. */
  readonly md5: string | undefined
  readonly crc32c: string | undefined
}

/** An object of the JSON API, as far as it is asked for. https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export interface Resource {
  readonly name?: string
  readonly generation?: string
  readonly size?: string
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly updated?: string
  readonly md5Hash?: string
  readonly crc32c?: string
}

/** The fields that {@link factsOfResource} reads. */
export const RESOURCE_FIELDS = 'generation,size,contentType,contentEncoding,metadata,updated,md5Hash,crc32c'

export function factsOfResource(resource: Resource): ObjectFacts {
  return {
    generation: resource.generation ?? '',
    byteLength: resource.size === undefined ? undefined : Number(resource.size),
    contentType: resource.contentType,
    contentEncoding: resource.contentEncoding === '' ? undefined : resource.contentEncoding,
    metadata: resource.metadata ?? {},
    updatedAt: instantOf(resource.updated),
    md5: resource.md5Hash,
    crc32c: resource.crc32c,
  }
}

const META = 'x-goog-meta-'

/**
 * Facts of an answer of the XML API, which has the metadata and the payload in one; an answer of the JSON API has only the payload
 * (https://github.com/googleapis/google-cloud-go/pull/11212). The service always tells the stored length. An emulator that does not is one that
 * may leave out the metadata too.
 */
export function factsOfHeaders(headers: IncomingHttpHeaders): ObjectFacts {
  const stored = headers['x-goog-stored-content-length']
  const hashes = String(headers['x-goog-hash'] ?? '')
  const metadata: Record<string, unknown> = {}
  let isKnown = stored !== undefined
  for (const name in headers) {
    if (!name.startsWith(META)) continue
    metadata[name.slice(META.length)] = headers[name]
    isKnown = true
  }
  return {
    generation: String(headers['x-goog-generation'] ?? ''),
    byteLength: stored === undefined ? undefined : Number(stored),
    contentType: headers['content-type'],
    contentEncoding: encodingOf(headers['content-encoding']),
    metadata: isKnown ? metadata : undefined,
    updatedAt: instantOf(headers['last-modified']),
    md5: /md5=([\w+/=]+)/.exec(hashes)?.[1],
    crc32c: /crc32c=([\w+/=]+)/.exec(hashes)?.[1],
  }
}

/** Whether a body on its way was unpacked or packed by somebody: then it is not what is stored. https://cloud.google.com/storage/docs/transcoding */
export function isTranscoded(headers: IncomingHttpHeaders): boolean {
  const stored = headers['x-goog-stored-content-encoding']?.toString()
  return (stored !== undefined && encodingOf(stored) !== encodingOf(headers['content-encoding'])) || headers.warning?.toString().startsWith('214') === true
}

function encodingOf(header: string | undefined): string | undefined {
  return header === undefined || header === '' || header === 'identity' ? undefined : header
}

function instantOf(text: string | undefined): EpochMs {
  const instant = text === undefined ? Number.NaN : Date.parse(text)
  return Number.isNaN(instant) ? 0 : instant
}
