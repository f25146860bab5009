import { describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CodecTable } from '../src/codec/standard.js'

const codecs = new CodecTable()
const SECRET = 'next door in the pool'

/** Ten bytes in the middle of a larger buffer, beside a secret. */
function besideSecret(): Buffer {
  const pool = Buffer.alloc(256)
  pool.write(SECRET, 4)
  pool.write('0123456789', 64)
  pool.write(SECRET, 80)
  return pool.subarray(64, 74)
}

describe('bytes', () => {
  test('come back as the class they had: a Buffer, a Uint8Array', () => {
    const buffer = codecs.decode(codecs.encode(besideSecret(), undefined))
    expect(Buffer.isBuffer(buffer)).toBe(true)
    expect(String(buffer)).toBe('0123456789')
    const plain = codecs.decode(codecs.encode(Uint8Array.of(1, 2), undefined))
    expect(Buffer.isBuffer(plain)).toBe(false)
    expect(plain).toEqual(Uint8Array.of(1, 2))
    expect(codecs.decode(codecs.encode(Buffer.alloc(0), undefined))).toEqual(Buffer.alloc(0))
  })

  test('are encoded in memory of their own, out of reach of whoever gave them', () => {
    const given = besideSecret()
    const { bytes } = codecs.encode(given, undefined)
    given.fill('x')
    expect(Buffer.from(bytes).toString()).toBe('0123456789')
    expect(bytes.buffer.byteLength).toBe(bytes.byteLength)
  })

  test('of a subclass come back as what structuredClone makes of them', () => {
    class Vector extends Uint8Array {}
    expect(codecs.decode(codecs.encode(Vector.of(1, 2), undefined))).toEqual(Uint8Array.of(1, 2))
  })
})

describe('bytes inside a value', () => {
  const holders = (): readonly (readonly [string, unknown])[] => {
    const view = besideSecret()
    const { buffer, byteOffset, byteLength } = view
    return [
      ['a Buffer', { view }],
      ['a Uint8Array', [new Uint8Array(buffer, byteOffset, byteLength)]],
      ['an Int16Array', new Map([['view', new Int16Array(buffer, byteOffset, byteLength / 2)]])],
      ['a DataView', [new DataView(buffer, byteOffset, byteLength)]],
    ]
  }

  test.each(holders())('%s is written without the buffer around it', (_name, holder) => {
    const written = Buffer.from(codecs.encode(holder, undefined).bytes).toString('latin1')
    expect(written).toContain('0123456789')
    expect(written).not.toContain(SECRET)
    expect(written).not.toContain(Buffer.from(SECRET, 'utf16le').toString('latin1'))
  })

  test('a Buffer comes back as the Uint8Array that structuredClone makes of it', () => {
    const decoded = codecs.decode(codecs.encode({ view: besideSecret() }, undefined)) as { view: Uint8Array }
    expect(Buffer.isBuffer(decoded.view)).toBe(false)
    expect(Buffer.from(decoded.view).toString()).toBe('0123456789')
  })

  test('each view has memory of its own: neither the frame nor another view behind it', () => {
    const both = new Float32Array([1, 2, 3, 4])
    const decoded = codecs.decode(codecs.encode([both.subarray(0, 2), both.subarray(2), Buffer.from('small')], undefined)) as Uint8Array[]
    for (const view of decoded) expect(view.buffer.byteLength).toBe(view.byteLength)
    expect(decoded.map((view) => Array.from(view))).toEqual([[1, 2], [3, 4], [...Buffer.from('small')]])
  })
})

const script = fileURLToPath(new URL('outside-jest/codec-realm.mjs', import.meta.url))
const isBuilt = existsSync(new URL('../dist/index.js', import.meta.url))
if (!isBuilt) process.stderr.write('SKIPPED: decoded values outside a test runner: packages/core/dist is missing, run `npm run build`\n')

;(isBuilt ? test : test.skip)('outside a test runner, decoded values are instances of their classes', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
  expect({ status, stderr, stdout: stdout.trim() }).toEqual({ status: 0, stderr: '', stdout: 'ok' })
})
