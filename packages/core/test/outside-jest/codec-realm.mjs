// Run by codec-bytes.test.ts in a plain Node process: in a test runner's realm nothing that V8 decodes passes `instanceof`.
import assert from 'node:assert/strict'
import { isCacheError } from '../../dist/index.js'
import { CodecTable } from '../../dist/codec/standard.js'

const codecs = new CodecTable()
const roundTrip = (value) => codecs.decode(codecs.encode(value, undefined))

const decoded = roundTrip({
  date: new Date(5),
  map: new Map([['a', new Set([1])]]),
  error: new RangeError('r', { cause: 1 }),
  regexp: /a/g,
  vector: Float32Array.of(1.5),
  raw: Buffer.from('raw'),
  view: new DataView(new ArrayBuffer(2)),
  memory: new ArrayBuffer(3),
  list: [undefined, -0, 1n],
})
assert.ok(decoded.date instanceof Date)
assert.ok(decoded.map instanceof Map)
assert.ok(decoded.map.get('a') instanceof Set)
assert.ok(decoded.error instanceof RangeError)
assert.ok(decoded.regexp instanceof RegExp)
assert.ok(decoded.vector instanceof Float32Array)
assert.equal(decoded.raw.constructor, Uint8Array)
assert.ok(decoded.view instanceof DataView)
assert.ok(decoded.memory instanceof ArrayBuffer)
assert.equal(Object.getPrototypeOf(decoded), Object.prototype)
assert.deepEqual(decoded.list, [undefined, -0, 1n])
assert.equal(roundTrip(Buffer.from('b')).constructor, Buffer)
assert.equal(roundTrip(Uint8Array.of(1)).constructor, Uint8Array)
assert.ok(roundTrip([1]) instanceof Array)
assert.throws(() => codecs.encode(() => 1, undefined), (error) => isCacheError(error) && error.code === 'not-encodable' && error.cause instanceof Error)
console.log('ok')
