import { constants } from 'node:buffer'
import { types } from 'node:util'
import { CacheError, kindOf, messageOf, type EncodedPayload } from '@thermocline/backend'
import type { Codec } from './codec.js'
import { isJsonExact } from './json-exact.js'
import { describeLoss, lossIn } from './losses.js'
import { structuredCodec } from './structured.js'
import { isTooLongForText, jsonOf, textOf, utf8Of } from './text.js'

/** Raw bytes that come back as a `Buffer`. */
const bufferCodec: Codec = {
  id: 'buffer',
  encode: (value) => ownBytes(asBytes(value, 'buffer')),
  decode: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
}

/** Raw bytes that come back as a `Uint8Array`. */
const bytesCodec: Codec = {
  id: 'bytes',
  encode: (value) => ownBytes(asBytes(value, 'bytes')),
  decode: (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
}

/** Well-formed strings, as UTF-8. */
function textCodecUpTo(longest: number): Codec {
  return {
    id: 'utf8',
    encode(value) {
      if (typeof value !== 'string' || !value.isWellFormed()) throw new TypeError(`codec utf8 takes a well-formed string, not ${kindOf(value)}`)
      return utf8Of(value, longest)
    },
    decode: (bytes) => textOf(bytes, longest),
  }
}

/** JSON text, for values it represents exactly. */
function jsonCodecUpTo(longest: number): Codec {
  return {
    id: 'json',
    encode(value) {
      if (isJsonExact(value)) return utf8Of(jsonOf(value), longest)
      const loss = lossIn(value)
      throw new TypeError(loss === undefined ? `codec json takes what JSON represents exactly; this is ${kindOf(value)} that would come back changed` : describeLoss(loss))
    },
    decode: (bytes) => JSON.parse(textOf(bytes, longest)) as unknown,
  }
}

/** The codecs a policy can name. `auto`, the default, picks by value; see {@link CodecTable}. */
export type CodecName = 'auto' | 'bytes' | 'buffer' | 'utf8' | 'json' | 'v8'

/**
 * The codecs of one manager. Encoding picks by value unless the policy fixes a codec: bytes stay raw, well-formed
 * strings are UTF-8, what JSON represents exactly is JSON text that people and other tools can read, and the rest is
 * the structured binary form; so is text longer than the longest string. Decoding goes by the id stored with the bytes.
 */
export class CodecTable {
  readonly #byId = new Map<string, Codec>()
  readonly #text: Codec
  readonly #json: Codec

  /**
   * @param longestText bytes of text that are read as one string; for tests, which have no half gigabyte
   * @throws TypeError when one of them is no codec or has the id of another
   */
  constructor(custom: readonly Codec[] = [], longestText: number = constants.MAX_STRING_LENGTH) {
    this.#text = textCodecUpTo(longestText)
    this.#json = jsonCodecUpTo(longestText)
    for (const codec of [bufferCodec, bytesCodec, this.#text, this.#json, structuredCodec]) this.#byId.set(codec.id, codec)
    if (!Array.isArray(custom)) throw new TypeError(`codecs must be an array of { id, encode, decode }, not ${kindOf(custom)}`)
    custom.forEach((codec, at) => this.resolve(codec as Codec, `codecs[${at}]`))
  }

  /**
   * The codec a policy asks for; `undefined` for `auto`.
   *
   * @throws TypeError for a name or an object that is no codec
   */
  resolve(wanted: CodecName | Codec | undefined, option: string): Codec | undefined {
    if (wanted === undefined || wanted === 'auto') return undefined
    if (typeof wanted === 'string') {
      const codec = this.#byId.get(wanted)
      if (codec !== undefined) return codec
      throw new TypeError(`${option} must be auto, ${[...this.#byId.keys()].join(', ')} or a Codec, not ${kindOf(wanted)}`)
    }
    if (typeof wanted !== 'object' || wanted === null || typeof wanted.id !== 'string' || typeof wanted.encode !== 'function' || typeof wanted.decode !== 'function') {
      throw new TypeError(`${option} must be a codec's name or { id, encode, decode }, not ${kindOf(wanted)}`)
    }
    if (!/^[\x21-\x2a\x2c-\x7e]{1,64}$/.test(wanted.id)) throw new TypeError(`${option}.id must be 1 to 64 printable ASCII characters without blanks and '+', not ${JSON.stringify(wanted.id)}`)
    const known = this.#byId.get(wanted.id)
    if (known !== undefined && known !== wanted) throw new TypeError(`${option}: another codec has the id ${JSON.stringify(wanted.id)}`)
    this.#byId.set(wanted.id, wanted)
    return wanted
  }

  /** @throws CacheError `not-encodable` when the codec refuses the value, or the value throws when it is read */
  encode(value: unknown, fixed: Codec | undefined): EncodedPayload {
    let codec = fixed
    try {
      codec ??= this.#codecFor(value)
      const bytes = codec.encode(value)
      if (!types.isUint8Array(bytes)) throw new TypeError(`encode must return a Uint8Array, not ${kindOf(bytes)}`)
      return { codec: codec.id, bytes }
    } catch (cause) {
      if (fixed === undefined && isTooLongForText(cause)) return this.encode(value, structuredCodec)
      const by = codec === undefined ? '' : ` by codec ${codec.id}`
      throw new CacheError('not-encodable', `the value (${kindOf(value)}) cannot be encoded${by}: ${messageOf(cause)}`, { operation: 'encode', cause })
    }
  }

  /** @throws CacheError `foreign` when the codec is unknown here or cannot read the bytes */
  decode(payload: EncodedPayload): unknown {
    const codec = this.#byId.get(payload.codec)
    if (codec === undefined) {
      throw new CacheError('foreign', `the entry was written with codec ${JSON.stringify(payload.codec)}, which is not known here`, { operation: 'decode' })
    }
    try {
      return codec.decode(payload.bytes)
    } catch (cause) {
      throw new CacheError('foreign', `codec ${codec.id} cannot read the entry's payload`, { operation: 'decode', cause })
    }
  }

  #codecFor(value: unknown): Codec {
    if (typeof value === 'string') return value.isWellFormed() ? this.#text : structuredCodec
    if (types.isUint8Array(value)) return Buffer.isBuffer(value) ? bufferCodec : bytesCodec
    return isJsonExact(value) ? this.#json : structuredCodec
  }
}

function asBytes(value: unknown, codec: string): Uint8Array {
  if (types.isUint8Array(value)) return value
  throw new TypeError(`codec ${codec} takes a Uint8Array or Buffer, not ${kindOf(value)}`)
}

/**
 * A copy in memory of its own. The caller may change its buffer the moment after, while a tier is still writing; and a
 * small view kept in memory must not hold a large buffer alive.
 */
function ownBytes(bytes: Uint8Array): Uint8Array {
  const own = Buffer.allocUnsafeSlow(bytes.byteLength)
  own.set(bytes)
  return own
}
