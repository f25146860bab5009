import { constants } from 'node:buffer'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { CacheError, kindOf, KnownNames, messageOf, type EncodedPayload } from '@thermocline/backend'

/*
 * Compression: a codec around a codec. Compressed bytes name it behind the codec that made them, `json+gzip`, so a reader knows what to
 * undo whatever its own setting is, and one that does not know the name has a miss. The names are those of HTTP's
 * Content-Encoding, which is what an object store is told.
 */

export type CompressionName = 'gzip' | 'brotli' | 'zstd'

/** How a policy compresses: a name, or a name with its settings. */
export type CompressionOption =
  | CompressionName
  | false
  | {
      readonly algorithm: CompressionName
      /** The algorithm's own: gzip 1 to 9 (default 6), brotli 0 to 11 (default 4), zstd 1 to 22 (default 3). */
      readonly level?: number | undefined
      /** Payloads of fewer bytes stay as they are. Default 1,024. */
      readonly threshold?: number | undefined
    }

type Transform = zlib.Gzip | zlib.BrotliCompress
interface Algorithm {
  /** Behind the `+` of a codec's id. */
  readonly suffix: string
  readonly levels: readonly [least: number, most: number, preset: number]
  readonly compress: (bytes: Uint8Array, level: number) => Promise<Buffer>
  readonly compressor: (level: number) => Transform
  readonly decompress: (bytes: Uint8Array, options: { readonly maxOutputLength?: number }) => Promise<Buffer>
  readonly decompressor: () => Transform
}

const gzip: Algorithm = {
  suffix: 'gzip',
  levels: [1, 9, 6],
  compress: (bytes, level) => promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip)(bytes, { level }),
  compressor: (level) => zlib.createGzip({ level }),
  decompress: promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  decompressor: () => zlib.createGunzip(),
}

const quality = (level: number): zlib.BrotliOptions => ({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level } })

const brotli: Algorithm = {
  suffix: 'br',
  levels: [0, 11, 4], // the default of the format, 11, takes a hundred times as long
  compress: (bytes, level) => promisify<Uint8Array, zlib.BrotliOptions, Buffer>(zlib.brotliCompress)(bytes, quality(level)),
  compressor: (level) => zlib.createBrotliCompress(quality(level)),
  decompress: promisify<Uint8Array, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress),
  decompressor: () => zlib.createBrotliDecompress(),
}

/** Node has zstd from 22.15 on; its types came with it. */
interface WithZstd {
  zstdCompress(bytes: Uint8Array, options: object, done: (error: Error | null, result: Buffer) => void): void
  zstdDecompress(bytes: Uint8Array, options: object, done: (error: Error | null, result: Buffer) => void): void
  createZstdCompress(options: object): Transform
  createZstdDecompress(): Transform
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
}

function zstdOf(node: WithZstd): Algorithm {
  const settings = (level: number): object => ({ params: { [node.constants.ZSTD_c_compressionLevel]: level } })
  return {
    suffix: 'zstd',
    levels: [1, 22, 3],
    compress: (bytes, level) => new Promise((resolve, reject) => node.zstdCompress(bytes, settings(level), (error, result) => (error === null ? resolve(result) : reject(error)))),
    compressor: (level) => node.createZstdCompress(settings(level)),
    decompress: (bytes, options) => new Promise((resolve, reject) => node.zstdDecompress(bytes, options, (error, result) => (error === null ? resolve(result) : reject(error)))),
    decompressor: () => node.createZstdDecompress(),
  }
}

const ALGORITHMS: Readonly<Record<CompressionName, Algorithm | undefined>> = {
  gzip,
  brotli,
  zstd: 'zstdCompress' in zlib ? zstdOf(zlib as unknown as WithZstd) : undefined,
}

const DEFAULT_THRESHOLD = 1024
const OPTIONS = new KnownNames(['algorithm', 'level', 'threshold'])

/** A policy's compression, checked. */
export class Compression {
  readonly threshold: number
  readonly #algorithm: Algorithm
  readonly #level: number

  /** @throws TypeError for what is no compression, and for one that this version of Node does not have */
  static of(option: CompressionOption | undefined, where: string): Compression | undefined {
    if (option === undefined || option === false) return undefined
    const settings = typeof option === 'string' ? { algorithm: option } : option
    if (typeof settings !== 'object' || settings === null) throw new TypeError(`${where} must be false, 'gzip', 'brotli', 'zstd' or { algorithm, level, threshold }, not ${kindOf(option)}`)
    OPTIONS.check(settings, where)
    const { algorithm: name } = settings
    if (!Object.hasOwn(ALGORITHMS, name)) throw new TypeError(`${where} must be one of ${Object.keys(ALGORITHMS).join(', ')}, not ${kindOf(name)}`)
    const algorithm = ALGORITHMS[name]
    if (algorithm === undefined) throw new TypeError(`${where}: this version of Node (${process.version}) has no ${name}; use gzip or brotli, or Node 22.15 or newer`)
    return new Compression(algorithm, settings, where)
  }

  private constructor(algorithm: Algorithm, settings: { readonly level?: number | undefined; readonly threshold?: number | undefined }, where: string) {
    const [least, most, preset] = algorithm.levels
    const { level = preset, threshold = DEFAULT_THRESHOLD } = settings
    if (!Number.isInteger(level) || level < least || level > most) throw new TypeError(`${where}.level must be a whole number from ${least} to ${most}, not ${kindOf(level)}`)
    if (!Number.isInteger(threshold) || threshold < 0) throw new TypeError(`${where}.threshold must be a whole number of bytes, not ${kindOf(threshold)}`)
    this.#algorithm = algorithm
    this.#level = level
    this.threshold = threshold
  }

  /** The compressed payload; the payload itself where that is not smaller. Works on the thread pool. */
  async compressed(payload: EncodedPayload): Promise<EncodedPayload> {
    const bytes = await this.#algorithm.compress(payload.bytes, this.#level)
    return bytes.byteLength < payload.bytes.byteLength ? { codec: this.codecOver(payload.codec), bytes, plainBytes: payload.bytes.byteLength } : payload
  }

  /** The id of this compression over a codec. */
  codecOver(codec: string): string {
    return `${codec}+${this.#algorithm.suffix}`
  }

  compressor(): Transform {
    return this.#algorithm.compressor(this.#level)
  }
}

/** Whether the bytes have to be decompressed before their codec can read them. */
export function isCompressed(codec: string): boolean {
  return codec.includes('+')
}

/** Whether the bytes can be read here: they are not compressed, or in a way that is known. @throws CacheError `foreign` otherwise */
export function checkCompression(codec: string): void {
  if (isCompressed(codec)) algorithmOf(codec)
}

/** The codec under a compression, or the codec itself. */
function plainCodec(codec: string): string {
  const at = codec.indexOf('+')
  return at < 0 ? codec : codec.slice(0, at)
}

/** The most bytes of one payload that are made in memory, unless an option says otherwise: 1 GiB. */
export const DEFAULT_MAX_BUFFERED_BYTES = 1024 ** 3
/** Payloads that do not say how long they are may become so many times as long: what deflate can do at most. Brotli and zstd can do much more. */
const MOST_TIMES = 1032
/** So long they may become in any case. */
const ALWAYS_BYTES = 16 * 1024 ** 2

/**
 * Decompresses a payload, in memory. Never makes more bytes than it ought to have: a few hundred can become gigabytes.
 *
 * @param maxBytes of the payload as it was
 * @throws CacheError `foreign` when the compression is not known here, the bytes are none of its, or they become more than such a payload can have
 * been; `corrupt` when they are not as many as its header says; `too-large` when they are more than `maxBytes`
 */
export async function decompressed(payload: EncodedPayload, maxBytes: number = DEFAULT_MAX_BUFFERED_BYTES): Promise<EncodedPayload> {
  const { plainBytes } = payload
  const likely = plainBytes ?? Math.max(ALWAYS_BYTES, payload.bytes.byteLength * MOST_TIMES)
  const plain = likely > maxBytes && plainBytes !== undefined ? undefined : await decompressedUpTo(Math.min(maxBytes, likely), payload)
  if (plain !== undefined && (plainBytes === undefined || plain.bytes.byteLength === plainBytes)) return plain
  const what = `the entry's payload of ${payload.bytes.byteLength} bytes`
  if (likely > maxBytes) throw new CacheError('too-large', `${what} is more than ${maxBytes} bytes when it is decompressed: read it as a stream, or allow more`, { operation: 'decode' })
  if (plainBytes !== undefined) throw new CacheError('corrupt', `${what} does not decompress to the ${plainBytes} that its header says`, { operation: 'decode' })
  throw new CacheError('foreign', `${what} decompresses to more than ${likely}, and its header does not say so`, { operation: 'decode' })
}

/** The same; `undefined` when that is more than so many bytes. */
export async function decompressedUpTo(maxBytes: number, payload: EncodedPayload): Promise<EncodedPayload | undefined> {
  const algorithm = algorithmOf(payload.codec)
  try {
    // zlib refuses a limit of no bytes
    const bytes = await algorithm.decompress(payload.bytes, { maxOutputLength: Math.max(1, Math.min(maxBytes, constants.MAX_LENGTH)) })
    return bytes.byteLength > maxBytes ? undefined : { codec: plainCodec(payload.codec), bytes }
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw new CacheError('foreign', `the entry's payload is no ${algorithm.suffix}: ${messageOf(cause)}`, { operation: 'decode', cause })
  }
}

/** A stream that decompresses what a codec names. @throws CacheError `foreign` when the compression is not known here */
export function decompressorOf(codec: string): Transform {
  return algorithmOf(codec).decompressor()
}

function algorithmOf(codec: string): Algorithm {
  const suffix = codec.slice(codec.indexOf('+') + 1)
  for (const algorithm of Object.values(ALGORITHMS)) if (algorithm?.suffix === suffix) return algorithm
  throw new CacheError('foreign', `the entry was written with compression ${JSON.stringify(suffix)}, which is not known here`, { operation: 'decode' })
}
