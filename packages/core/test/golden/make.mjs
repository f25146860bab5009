// Writes the golden frames of the current version: `npm run build && node packages/core/test/golden/make.mjs`.
// Run once per release. It writes only what is missing: a golden file is what a released version wrote, and never changes.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { CacheEntry, encodeFrameHeader } from '../../../backend/dist/index.js'
import { CodecTable } from '../../dist/codec/standard.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const folder = new URL(`v${version}/`, import.meta.url)
const codecs = new CodecTable()

const T = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const HOUR = 3_600_000
const plain = { tenant: 'acme', key: 'docs/a', createdAt: T, expiresAt: T + HOUR, keepUntil: T + HOUR, computeMicros: 0, codec: null }
const bytes = (...values) => ({ $bytes: Buffer.from(values).toString('base64') })

/** Values are written as JSON with `$` tags; the test reads them the same way. `null` for an instant: never. */
const ENTRIES = {
  'text': { ...plain, value: 'plain text, grüße 😀' },
  'empty-text': { ...plain, value: '' },
  'json': { ...plain, value: { a: 1, b: ['two', true, null], c: { d: -1.5e300 } } },
  'bytes': { ...plain, value: { $bytes: Buffer.from([0, 1, 2, 127, 128, 255]).toString('base64') } },
  'buffer': { ...plain, value: { $buffer: Buffer.from('\x89TCF is not the magic here', 'latin1').toString('base64') } },
  'structured': {
    ...plain,
    value: { $map: [['date', { $date: 86_400_000 }], ['set', { $set: [1, 'a', null] }], ['big', { $bigint: '1180591620717411303424' }], ['raw', { deep: [bytes(9, 8, 7), { $undefined: 0 }, { $minusZero: 0 }] }]] },
  },
  'structured-fixed': { ...plain, codec: 'v8', value: { a: 1 } },
  'every-field': {
    ...plain,
    keepUntil: T + 60_000,
    computeMicros: 1_234_567,
    details: { staleMs: 30_000, tags: ['red', 'grün', 'x'.repeat(256)], metadata: { source: 'käse', empty: '', '__proto__2': '"' }, fence: 42 },
    value: [1, 2, 3],
  },
  'for-ever': { ...plain, expiresAt: null, keepUntil: null, value: 'never ends' },
  'for-ever-kept-a-while': { ...plain, expiresAt: null, keepUntil: T + 60_000, value: 'never ends, but not here' },
  'weird-names': { ...plain, tenant: '..', key: `../${'ключ 😀\n%00\\'}${'k'.repeat(900)}`, value: 1 },
  'long-header': { ...plain, key: 'ü'.repeat(512), details: { metadata: { long: 'm'.repeat(2000) } }, value: null },
}

mkdirSync(folder, { recursive: true })
for (const [name, entry] of Object.entries(ENTRIES)) {
  const json = new URL(`${name}.json`, folder)
  const bin = new URL(`${name}.bin`, folder)
  if (existsSync(json) || existsSync(bin)) continue
  const instant = (at) => at ?? Number.POSITIVE_INFINITY
  const fixed = codecs.resolve(entry.codec ?? 'auto', 'codec')
  const encoded = codecs.encode(revive(entry.value), fixed)
  const { createdAt, expiresAt, keepUntil, computeMicros, details } = entry
  const made = CacheEntry.ofBytes(encoded, { createdAt, expiresAt: instant(expiresAt), computeMicros, details })
  writeFileSync(bin, Buffer.concat([encodeFrameHeader(entry.tenant, entry.key, made, instant(keepUntil)), encoded.bytes]))
  writeFileSync(json, `${JSON.stringify({ ...entry, writtenWith: encoded.codec }, undefined, 2)}\n`)
  console.log(`made v${version}/${name}`)
}

function revive(value) {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(revive)
  if ('$bytes' in value) return new Uint8Array(Buffer.from(value.$bytes, 'base64'))
  if ('$buffer' in value) return Buffer.from(value.$buffer, 'base64')
  if ('$date' in value) return new Date(value.$date)
  if ('$map' in value) return new Map(value.$map.map(([key, item]) => [key, revive(item)]))
  if ('$set' in value) return new Set(value.$set.map(revive))
  if ('$bigint' in value) return BigInt(value.$bigint)
  if ('$undefined' in value) return undefined
  if ('$minusZero' in value) return -0
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, revive(item)]))
}
