import { crc32 } from './crc32.js'

/** What is known of a payload before its end. */
export interface ExpectedPayload {
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
}

/**
 * Passes chunks on and throws what `damaged` makes, instead of ending, when they are not as many bytes as expected or do not
 * have the checksum. One byte too many is seen at once, so a stream is never longer than it ought to be.
 */
export async function* checkedChunks(chunks: AsyncIterable<Uint8Array>, expected: ExpectedPayload, damaged: (reason: string) => Error): AsyncGenerator<Uint8Array, void, undefined> {
  let crc = 0
  let length = 0
  for await (const chunk of chunks) {
    length += chunk.byteLength
    if (expected.byteLength !== undefined && length > expected.byteLength) throw damaged(`it has more than the ${expected.byteLength} payload bytes that it ought to have`)
    if (expected.crc32 !== undefined) crc = crc32(chunk, crc)
    yield chunk
  }
  if (expected.byteLength !== undefined && length !== expected.byteLength) throw damaged(`it has ${length} payload bytes instead of ${expected.byteLength}`)
  if (expected.crc32 !== undefined && crc !== expected.crc32) throw damaged('the checksum of its payload does not match')
}
