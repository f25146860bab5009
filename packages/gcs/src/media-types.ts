import { contentEncodingOf, contentTypeOf, type EntryDetails } from '@thermocline/core'
import { lookup } from 'mrmime'

/** What other tools are told of an object's payload. */
export interface MediaType {
  readonly contentType: string
  readonly contentEncoding: string | undefined
}

export function mediaTypeOf(key: string, codec: string, details: EntryDetails | undefined): MediaType {
  return { contentType: contentTypeOf(key, codec, details, lookup), contentEncoding: contentEncodingOf(codec) }
}
