import { contentEncodingOf, contentTypeOf } from '@thermocline/object-store'
import type { EntryDetails } from '@thermocline/backend'
import { lookup } from 'mrmime'

/** What other tools are told of an object's payload. */
export interface MediaType {
  readonly contentType: string
  readonly contentEncoding: string | undefined
}

export function mediaTypeOf(key: string, codec: string, details: EntryDetails | undefined): MediaType {
  return { contentType: contentTypeOf(key, codec, details, byExtension), contentEncoding: contentEncodingOf(codec) }
}

/** A key without an extension has no type by it: the table would take `png` for one, and `constructor` for a function. */
function byExtension(key: string): string | undefined {
  const last = key.slice(key.lastIndexOf('/') + 1)
  const type: unknown = last.includes('.') ? lookup(last) : undefined
  return typeof type === 'string' ? type : undefined
}
