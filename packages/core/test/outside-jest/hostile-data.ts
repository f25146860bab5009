// Run by hostile-data.test.ts in a process with a small heap: whatever is stored, reading it ends, soon, as an entry of the right shape or as a miss.
import assert from 'node:assert/strict'
import v8 from 'node:v8'
import zlib from 'node:zlib'
import fc from 'fast-check'
import {
  CacheEntry,
  decodeFrameHeader,
  estimateBytes,
  isCacheError,
  TenantScope,
  validateKey,
  validateTenant,
  type EncodedPayload,
  type EntryFields,
  type FrameHeader,
} from '@thermocline/backend'
import { decodeObjectMetadata, encodeObjectMetadata } from '@thermocline/object-store'
import { CodecTable } from '../../src/codec/standard.js'
import type { CompressionName } from '../../src/codec/compression.js'
import { Payloads } from '../../src/codec/payloads.js'
import { handOut, takeIn } from '../../src/codec/isolate.js'
import { isJsonExact } from '../../src/codec/json-exact.js'
import { field, frameOf, reassemble } from '../../../../test/support/frames.js'

/** Of CPU time: others work beside this. */
const LONGEST_MS = 2000
const RUNS = { numRuns: Number(process.argv[2] ?? 300) }
const codecs = new CodecTable()
const payloads = new Payloads()
const unpacked = (payload: EncodedPayload, maxBytes?: number): Promise<EncodedPayload> => payloads.unpack(payload, { tenant: 't', key: 'k' }, maxBytes)
const scope = new TenantScope(validateTenant('acme'))
const isWhole = (value: number): boolean => Number.isSafeInteger(value)
const isText = (value: unknown): boolean => typeof value === 'string'

/** Anything may fail, as a CacheError. */
function mayFail<T>(what: string, body: () => T): T | undefined {
  const startedAt = process.cpuUsage().user
  try {
    return body()
  } catch (error) {
    assert.ok(isCacheError(error), `${what} threw ${String(error)}`)
    return undefined
  } finally {
    const ms = (process.cpuUsage().user - startedAt) / 1000
    assert.ok(ms < LONGEST_MS, `${what} took ${ms} ms`)
  }
}

function checkFields({ createdAt, expiresAt, keepUntil, computeMicros, details }: EntryFields & Pick<FrameHeader, 'keepUntil'>): void {
  assert.ok(isWhole(createdAt))
  for (const at of [expiresAt, keepUntil, details?.staleMs ?? 0, details?.keepUntil ?? 0]) assert.ok(isWhole(at) || at === Number.POSITIVE_INFINITY, String(at))
  for (const count of [computeMicros ?? 0, details?.fence ?? 0]) assert.ok(isWhole(count) && count >= 0, String(count))
  assert.ok(details?.tags === undefined || (Array.isArray(details.tags) && details.tags.every(isText)))
  assert.ok(details?.metadata === undefined || (!Array.isArray(details.metadata) && Object.values(details.metadata).every(isText)))
  const entry = CacheEntry.head({ createdAt, expiresAt, computeMicros, details })
  assert.ok(!Number.isNaN(entry.expiresAt) && !Number.isNaN(entry.keepUntil))
}

function readFrame(frame: Buffer): void {
  const reading = decodeFrameHeader(frame)
  if (reading.status === 'short') assert.ok(reading.needed <= 2 ** 20 + 16)
  if (reading.status !== 'ok') return
  const header = reading.value
  checkFields(header)
  for (const count of [header.payloadBytes, header.payloadCrc, header.plainBytes ?? 0]) assert.ok(isWhole(count) && count >= 0)
  assert.ok(header.codec.length > 0)
  validateKey(header.key)
  validateTenant(header.tenant)
}

/** What is done with a value that was read. */
function use(value: unknown): void {
  estimateBytes(value)
  isJsonExact(value)
  mayFail('encode', () => codecs.encode(value, undefined))
  for (const isolation of ['freeze', 'clone'] as const) mayFail(isolation, () => handOut(takeIn(value, isolation), isolation))
}

const decode = (codec: string, bytes: Uint8Array): void => {
  const value = mayFail(`decode ${codec}`, () => codecs.decode({ codec, bytes }))
  mayFail(`use of ${codec} ${Buffer.from(bytes.subarray(0, 120)).toString('hex')}`, () => use(value))
}

const double = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}
const adversarial = fc.oneof(
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, -1, 0.5, 2 ** 53, -(2 ** 53), 1e300, 8.64e15, 2 ** 32).map(double),
  fc.double().map(double), fc.uint8Array({ maxLength: 12 }),
  fc.constantFrom('', '__proto__', 'null', '[]', '{"a":1}', '{"__proto__":{"a":1}}', '["x"]', '"text"', '{"a":["b"]}', '1', '[1,{}]', 'a\0b', 'x'.repeat(2000), '\ud800').map((text) => Buffer.from(text)),
  fc.constantFrom(10, 1000, 200_000).map((depth) => Buffer.from('['.repeat(depth) + ']'.repeat(depth))),
)
const small = frameOf({ tenant: 't', key: 'k', value: { a: 1 }, details: { tags: ['a'], metadata: { m: '1' }, fence: 3, staleMs: 5 } })
const ownFields = small.subarray(16, 16 + small.readUInt32LE(8))

fc.assert(fc.property(fc.integer({ min: 1, max: 20 }), adversarial, (id, bytes) => readFrame(reassemble(small, Buffer.concat([ownFields, field(id, bytes)])))), { numRuns: RUNS.numRuns * 3 })
fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => readFrame(reassemble(small, bytes))), RUNS)
fc.assert(fc.property(fc.nat({ max: ownFields.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
  const fields = Buffer.from(ownFields)
  fields[at] = byte
  readFrame(reassemble(small, fields))
}), { numRuns: RUNS.numRuns * 3 })

const plainMetadata = encodeObjectMetadata(scope, validateKey('k'), CacheEntry.head({ createdAt: 1, expiresAt: 2, details: { tags: ['a'], metadata: { a: 'b' }, staleMs: 1, fence: 2 } }), 2, { codec: 'json', byteLength: 3, crc32: 4, plainBytes: 5 })
const NUMBERS = ['NaN', 'Infinity', '-Infinity', '1e300', '0x10', '-1', '0.5', '', ' ', 'never', 'null', '9'.repeat(400), '9007199254740993', '__proto__']
const texts = fc.oneof(fc.string(), fc.constantFrom('null', '[1]', '{"a":1}', '"x"', '[[', '=u:', '=z:', '=z:AAAA', '{"__proto__":1}', '['.repeat(3000), '{}', '[]'))
fc.assert(fc.property(fc.constantFrom('bytes', 'plain', 'crc32', 'created', 'expires', 'keep-until', 'stale', 'fence', 'compute-us', 'codec'), fc.oneof(fc.constantFrom(...NUMBERS), fc.string()), fc.constantFrom('tc-tags', 'tc-metadata', 'tc-type', 'tc-other'), texts, (name, value, other, text) => {
  for (const metadata of [{ ...plainMetadata, 'tc-entry': `${plainMetadata['tc-entry'] ?? ''}; ${name}=${value}` }, { ...plainMetadata, [other]: text }, { ...plainMetadata, 'tc-entry': text }, { ...plainMetadata, [other]: 5 }]) {
    const reading = decodeObjectMetadata(metadata, scope, validateKey('k'))
    if (reading.status !== 'ok') continue
    const { header } = reading
    checkFields(header)
    assert.ok(header.payload.byteLength === undefined || (isWhole(header.payload.byteLength) && header.payload.byteLength >= 0))
    assert.ok(header.payload.plainBytes === undefined || (isWhole(header.payload.plainBytes) && header.payload.plainBytes >= 0))
  }
}), { numRuns: RUNS.numRuns * 3 })

const cycle: unknown[] = [1n << 100n, new Map(), Buffer.from('b'), new Float64Array(4), /a/g, new Error('e'), new Date(0), { a: { b: [1.5, , 'x'] } }]
cycle.push(cycle)
const serialized = Buffer.from(codecs.encode(cycle, undefined).bytes)
fc.assert(fc.property(fc.constantFrom('v8', 'json', 'utf8', 'bytes', 'buffer', 'none'), fc.uint8Array({ maxLength: 200 }), (codec, bytes) => {
  decode(codec, bytes)
  decode('v8', Buffer.concat([serialized.subarray(0, 2), bytes]))
}), RUNS)
fc.assert(fc.property(fc.nat({ max: serialized.length - 1 }), fc.nat({ max: 255 }), fc.nat({ max: serialized.length }), (at, byte, cut) => {
  const changed = Buffer.from(serialized)
  changed[at] = byte
  decode('v8', changed)
  decode('v8', serialized.subarray(0, cut))
}), { numRuns: RUNS.numRuns * 2 })
const sparse: unknown[] = []
sparse[4_294_967_294] = 'end'
sparse[7] = { in: [sparse] }
decode('v8', v8.serialize(sparse))
decode('v8', v8.serialize({ a: Array.from({ length: 50 }, () => new Array<unknown>(4_000_000_000)), b: { 4294967290: 1 } }))
decode('v8', v8.serialize(1n << BigInt(2 ** 22)))
for (const depth of [100, 5000, 300_000]) {
  decode('json', Buffer.from('['.repeat(depth) + ']'.repeat(depth)))
  decode('json', Buffer.from('{"a":'.repeat(depth) + '1' + '}'.repeat(depth)))
  decode('v8', Buffer.concat([serialized.subarray(0, 2), Buffer.from('A\x01'.repeat(depth) + '_' + '$\0\x01'.repeat(depth), 'latin1')]))
}

const zeros = Buffer.alloc(256 * 1024 ** 2)
const bombs: readonly (readonly [string, Buffer])[] = [
  ['buffer+br', zlib.brotliCompressSync(zeros, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ['buffer+gzip', zlib.gzipSync(Buffer.alloc(16 * 1024 ** 2))],
]
const before = process.memoryUsage().rss
for (const [codec, bytes] of bombs) {
  for (const plainBytes of [undefined, 10, 1_000_000]) {
    if (codec.endsWith('gzip') && plainBytes === undefined) continue
    await assert.rejects(unpacked({ codec, bytes, plainBytes }), isCacheError)
  }
  await assert.rejects(unpacked({ codec, bytes, plainBytes: 2 ** 40 }), isCacheError)
  await assert.rejects(unpacked({ codec, bytes }, 1_000_000), isCacheError)
}
assert.ok(process.memoryUsage().rss - before < 150 * 1024 ** 2, 'bombs took memory')
await fc.assert(fc.asyncProperty(fc.constantFrom<CompressionName>('gzip', 'brotli'), fc.uint8Array({ maxLength: 300 }), fc.option(fc.nat({ max: 1000 }), { nil: undefined }), async (algorithm, bytes, plainBytes) => {
  const codec = algorithm === 'gzip' ? 'json+gzip' : 'json+br'
  for (const given of [bytes, zlib.gzipSync(bytes).subarray(0, -1), zlib.brotliCompressSync(bytes)]) {
    await unpacked({ codec, bytes: given, plainBytes }).catch((error: unknown) => assert.ok(isCacheError(error)))
  }
}), RUNS)
process.stdout.write('ok\n')
