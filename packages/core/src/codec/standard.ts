import { types } from 'node:util'
import { CacheError, messageOf } from '../errors/cache-error.js'
import { kindOf } from '../errors/describe.js'
import type { EncodedPayload } from '../contract/entry.js'
import type { Codec } from './codec.js'
import { isJsonExact } from './json-exact.js'
import { structuredCodec } from './structured.js'

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
const textCodec: Codec = {
  id: 'utf8',
  encode(value) {
    if (typeof value !== 'string' || !value.isWellFormed()) throw new TypeError(`codec utf8 takes a well-formed string, not ${kindOf(value)}`)
    return Buffer.from(value, 'utf8')
  },
  decode: textOf,
}

/** JSON text, for values it represents exactly. */
const jsonCodec: Codec = {
  id: 'json',
  encode(value) {
    if (!isJsonExact(value)) throw new TypeError(`codec json takes what JSON represents exactly; this is ${kindOf(value)} that would come back changed`)
    return Buffer.from(JSON.stringify(value), 'utf8')
  },
  decode: (bytes) => JSON.parse(textOf(bytes)) as unknown,
}

const BUILT_IN: readonly Codec[] = [bufferCodec, bytesCodec, textCodec, jsonCodec, structuredCodec]

/** The codecs a policy can name. `auto`, the default, picks by value; see {@link CodecTable}. */
export type CodecName = 'auto' | 'bytes' | 'buffer' | 'utf8' | 'json' | 'v8'

/**
 * The codecs of one manager. Encoding picks by value unless the policy fixes a codec: bytes stay raw, well-formed
 * strings are UTF-8, what JSON represents exactly is JSON text that people and other tools can read, and the rest is
 * the structured binary form. Decoding goes by the id stored with the bytes.
 */
export class CodecTable {
  readonly #byId = new Map<string, Codec>()

  /** @throws TypeError when one of them is no codec or has the id of another */
  constructor(custom: readonly Codec[] = []) {
    for (const codec of BUILT_IN) this.#byId.set(codec.id, codec)
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

  /** @throws CacheError `not-encodable` when the codec refuses the value */
  encode(value: unknown, fixed: Codec | undefined): EncodedPayload {
    const codec = fixed ?? codecFor(value)
    try {
      const bytes = codec.encode(value)
      if (!types.isUint8Array(bytes)) throw new TypeError(`encode must return a Uint8Array, not ${kindOf(bytes)}`)
      return { codec: codec.id, bytes }
    } catch (cause) {
      throw new CacheError('not-encodable', `the value (${kindOf(value)}) cannot be encoded by codec ${codec.id}: ${messageOf(cause)}${fixed === undefined ? '; store what structuredClone takes, or give the policy a codec of yours' : ''}`, {
        operation: 'encode',
        cause,
      })
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
}

function textOf(bytes: Uint8Array): string {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString() // without arguments Node looks nothing up
}

function codecFor(value: unknown): Codec {
  if (typeof value === 'string') return value.isWellFormed() ? textCodec : structuredCodec
  if (Buffer.isBuffer(value)) return bufferCodec
  if (isPlainBytes(value)) return bytesCodec
  return isJsonExact(value) ? jsonCodec : structuredCodec
}

function isPlainBytes(value: unknown): boolean {
  return types.isUint8Array(value)
}

function asBytes(value: unknown, codec: string): Uint8Array {
  if (isPlainBytes(value)) return value as Uint8Array
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
