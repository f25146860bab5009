import { constants } from 'node:buffer'
import { StringDecoder } from 'node:string_decoder'
import { types } from 'node:util'

/*
 * Text as bytes and back. V8 has a longest string (512 MB), and makes none of more UTF-8 bytes than that either, although they may be fewer
 * characters. What is longer is refused here, and stored in the structured binary form instead.
 */

/** The text would not be read back. */
class TooLongForText extends RangeError {}

/** Safe for whatever was thrown: to ask a revoked Proxy for its class throws. */
export function isTooLongForText(thrown: unknown): boolean {
  return types.isNativeError(thrown) && thrown instanceof TooLongForText
}

/** Bytes that are made into text at once, where all of them are too many. */
const PIECE_BYTES = 64 * 1024 ** 2

/** @throws RangeError where the text's bytes are more than are read as one string */
export function utf8Of(text: string, longest: number): Buffer {
  if (text.length > longest) throw tooLong(text.length, longest)
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.byteLength > longest) throw tooLong(bytes.byteLength, longest)
  return bytes
}

/** JSON text of a value that JSON represents. @throws RangeError where it has no string */
export function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    // the value was walked before: all that is left to fail is the length of the string
    if (types.isNativeError(cause) && cause.message === 'Invalid string length') throw tooLong(undefined, constants.MAX_STRING_LENGTH)
    throw cause
  }
}

/**
 * UTF-8 as text. Bytes beyond the longest string are read in pieces: their characters may be few enough.
 *
 * @throws RangeError where they are not
 */
export function textOf(bytes: Uint8Array, longest: number): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.byteLength <= longest) return buffer.toString() // without arguments Node looks nothing up
  const decoder = new StringDecoder('utf8')
  const piece = Math.min(longest, PIECE_BYTES)
  let text = ''
  for (let at = 0; at < buffer.byteLength; at += piece) text += decoder.write(buffer.subarray(at, at + piece))
  return text + decoder.end()
}

function tooLong(length: number | undefined, longest: number): TooLongForText {
  return new TooLongForText(`its text${length === undefined ? '' : `, ${length} long,`} is longer than the ${longest} that are read as one string`)
}
