import { constants } from 'node:buffer'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { CacheError, kindOf, KnownNames, messageOf } from '@thermocline/backend'
import type { PayloadStep, StepReader } from './payload-step.js'

/*
 * Compression: a step around the codec (see payloads.ts). Its names in an entry are those of HTTP's Content-Encoding, which is what an object store is told.
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
export class Compression implements PayloadStep {
  readonly id: string
  readonly optionalFrom: number
  readonly reader: StepReader
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
    this.id = algorithm.suffix
    this.reader = readerOf(algorithm)
    this.optionalFrom = threshold
  }

  apply(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#algorithm.compress(bytes, this.#level)
  }

  applying(): Transform {
    return this.#algorithm.compressor(this.#level)
  }
}

/** Undoes each compression that this version of Node has. */
export const DECOMPRESSION: readonly StepReader[] = Object.values(ALGORITHMS).flatMap((algorithm) => algorithm === undefined ? [] : [readerOf(algorithm)])

function readerOf({ suffix, decompress, decompressor }: Algorithm): StepReader {
  return {
    id: suffix,
    async undo(bytes, _place, maxBytes) {
      try {
        // zlib refuses a limit of no bytes
        const before = await decompress(bytes, { maxOutputLength: Math.max(1, Math.min(maxBytes, constants.MAX_LENGTH)) })
        return before.byteLength > maxBytes ? undefined : before
      } catch (cause) {
        if ((cause as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') return undefined
        throw new CacheError('foreign', `the entry's payload is no ${suffix}: ${messageOf(cause)}`, { operation: 'decode', cause })
      }
    },
    undoing: decompressor,
  }
}
