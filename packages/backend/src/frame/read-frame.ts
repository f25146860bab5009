import { decodeFrameHeader, FRAME_MAGIC, payloadProblem, type FrameHeader, type FrameOwner } from './frame.js'

/** What stored bytes turned out to be. */
export type FrameContent =
  /** `payload` is absent where only the head was read. It is a view of the bytes given: see {@link ownMemory}. */
  | { readonly status: 'ok'; readonly header: FrameHeader; readonly payload: Buffer | undefined }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/**
 * Reads a whole frame that lies in one piece, header and payload, and checks both.
 *
 * @param expected makes reading cheaper where it is right; whether it is, the caller compares
 */
export function readFrame(bytes: Buffer, expected?: FrameOwner): FrameContent {
  const reading = decodeFrameHeader(bytes, expected)
  if (reading.status !== 'ok') return reading.status === 'short' ? cutOff(bytes) : reading
  const header = reading.value
  const payload = bytes.subarray(header.payloadOffset)
  const problem = payloadProblem(header, payload)
  return problem === undefined ? { status: 'ok', header, payload } : { status: 'corrupt', reason: problem }
}

/**
 * Reads the head of a frame from its first bytes, of which at most `most` were asked for; `undefined` when the header is longer
 * than that. Bytes that are fewer than `most` are all there is.
 */
export function readFrameHead(bytes: Buffer, most: number): FrameContent | undefined {
  const reading = decodeFrameHeader(bytes)
  if (reading.status === 'short') return bytes.byteLength >= most ? undefined : cutOff(bytes)
  if (reading.status !== 'ok') return reading
  const header = reading.value
  const claimed = header.payloadOffset + header.payloadBytes
  if (bytes.byteLength !== Math.min(claimed, most)) return { status: 'corrupt', reason: `it does not have the ${claimed} bytes that its header claims` }
  return { status: 'ok', header, payload: undefined }
}

/** A payload that is a small part of what it was read into gets memory of its own: kept, it would keep all of that. */
export function ownMemory(payload: Buffer): Buffer {
  if (payload.byteLength * 2 >= payload.buffer.byteLength) return payload
  const own = Buffer.allocUnsafeSlow(payload.byteLength)
  own.set(payload)
  return own
}

function cutOff(bytes: Buffer): FrameContent {
  if (bytes.byteLength < FRAME_MAGIC.length) return { status: 'foreign', reason: 'it is too short to be a frame' }
  return { status: 'corrupt', reason: 'it ends inside its header' }
}
