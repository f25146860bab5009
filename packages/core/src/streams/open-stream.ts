import { isStreamed, type EncodedPayload, type PayloadStream } from '@thermocline/backend'
import type { Operation, ReadOperation } from '../operation/operation.js'
import { walk } from '../reading/walk.js'
import type { Found } from '../operation/found.js'

/** An entry whose payload can be read as a stream, and where it was found. */
export interface FoundStream {
  readonly found: Found
  readonly payload: PayloadStream
  /** Whether the whole payload is at hand: it is promoted as usual. */
  readonly isWhole: boolean
}

/** As `walk`: asks the tiers for an entry, for its payload as a stream where the tier has streams. */
export async function openStream(operation: ReadOperation): Promise<FoundStream | undefined> {
  const found = await walk(operation)
  return found && streamOf(operation, found)
}

/** The stream of what was found. */
export function streamOf(operation: Operation, found: Found): FoundStream {
  const { entry } = found
  if (isStreamed(entry)) return { found, payload: entry.payload, isWhole: false }
  return { found, payload: payloadOf(encodedOf(operation, found)), isWhole: true }
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
