import { describe, expect, test } from '@jest/globals'
import zlib from 'node:zlib'
import type { EncodedPayload } from '@thermocline/backend'
import { Compression } from '../src/codec/compression.js'
import { Payloads } from '../src/codec/payloads.js'

const MiB = 1024 ** 2
const brotli = (bytes: number): Buffer => zlib.brotliCompressSync(Buffer.alloc(bytes), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })

const payloads = new Payloads()
const PLACE = { tenant: 't', key: 'k' }
const decompressed = (payload: EncodedPayload, maxBytes?: number): Promise<EncodedPayload> => payloads.unpack(payload, PLACE, maxBytes)
const decompressedUpTo = (maxBytes: number, payload: EncodedPayload): Promise<EncodedPayload | undefined> => payloads.unpackUpTo(maxBytes, payload, PLACE)

describe('decompressing', () => {
  test('makes no more bytes than the header says, and not fewer', async () => {
    const bytes = brotli(MiB)
    for (const plainBytes of [0, 1000, MiB - 1, MiB + 1]) {
      await expect(decompressed({ codec: 'buffer+br', bytes, plainBytes })).rejects.toMatchObject({ name: 'CacheError', code: 'corrupt' })
    }
    expect((await decompressed({ codec: 'buffer+br', bytes, plainBytes: MiB })).bytes.byteLength).toBe(MiB)
  })

  test('of bytes whose length is not said makes what such bytes can be, not what a few hundred can be made into', async () => {
    const bytes = brotli(17 * MiB)
    expect(bytes.byteLength).toBeLessThan(16 * 1024)
    await expect(decompressed({ codec: 'buffer+br', bytes })).rejects.toMatchObject({ code: 'foreign', message: expect.stringContaining('decompresses to more than') })
    expect((await decompressed({ codec: 'buffer+br', bytes: brotli(MiB) })).bytes.byteLength).toBe(MiB)
    expect((await decompressed({ codec: 'buffer+gzip', bytes: zlib.gzipSync(Buffer.alloc(17 * MiB)) })).bytes.byteLength).toBe(17 * MiB)
  })

  test('makes no more than is allowed in memory, whatever the header says, and then makes nothing at all', async () => {
    for (const plainBytes of [undefined, 2 * MiB]) await expect(decompressed({ codec: 'buffer+br', bytes: brotli(2 * MiB), plainBytes }, MiB)).rejects.toMatchObject({ code: 'too-large' })
    expect(await decompressedUpTo(MiB, { codec: 'buffer+br', bytes: brotli(2 * MiB) })).toBeUndefined()
    expect(await decompressedUpTo(0, { codec: 'buffer+br', bytes: brotli(0) })).toMatchObject({ bytes: Buffer.alloc(0) })
  })

  test('what was compressed says how long it was', async () => {
    const payload = { codec: 'buffer', bytes: Buffer.alloc(10_000) }
    for (const algorithm of ['gzip', 'brotli'] as const) {
      const compressed = await payloads.pack(payload, [Compression.of(algorithm, 'compression') as Compression], PLACE)
      expect(compressed).toMatchObject({ plainBytes: 10_000 })
      expect(await decompressed(compressed)).toEqual(payload)
    }
  })
})
