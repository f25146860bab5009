import { isStreamed, type CacheEntry, type EncodedPayload, type PayloadStream } from '@thermocline/backend'
import type { Slot } from '../policies/policy.js'
import type { Operation, ReadOperation } from '../operation/operation.js'
import { walk } from '../reading/walk.js'
import type { Found } from '../operation/found.js'

/** A fresh entry whose payload can be read as a stream, and where it was found. */
export interface FoundStream {
  readonly entry: CacheEntry
  readonly slot: Slot
  readonly position: number
  readonly payload: PayloadStream
  /** Where the whole payload is at hand: for promotion as usual. */
  readonly whole: Found | undefined
}

/** As `walk`: asks the tiers for a fresh entry, for its payload as a stream where the tier has streams. */
export async function openStream(operation: ReadOperation): Promise<FoundStream | undefined> {
  const found = await walk(operation)
  if (found === undefined) return undefined
  const { entry, slot, position } = found
  if (isStreamed(entry)) return { entry, slot, position, payload: entry.payload, whole: undefined }
  return { entry, slot, position, payload: payloadOf(encodedOf(operation, found)), whole: found }
}

function encodedOf({ engine, plan }: Operation, { entry }: Found): EncodedPayload {
  return entry.encoded ?? engine.codecs.encode(entry.value, plan.policy.codec)
}

function payloadOf({ codec, bytes }: EncodedPayload): PayloadStream {
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    await Promise.resolve()
    yield bytes
  }
  return { codec, byteLength: bytes.byteLength, crc32: undefined, chunks, cancel: () => undefined }
}
