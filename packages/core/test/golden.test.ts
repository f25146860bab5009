import { describe, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import v8 from 'node:v8'
import type { EntryDetails } from '@thermocline/backend'
import type { CodecName } from '../src/codec/standard.js'
import { VERSION } from '../src/version.js'
import { frameOf, readFrame } from '../../../test/support/frames.js'
import { sameValue } from './support/same-value.js'

/** What a golden frame was made of, as golden/make.mjs wrote it down. `null` for an instant: never. */
interface Golden {
  readonly tenant: string
  readonly key: string
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly keepUntil: number | null
  readonly computeMicros: number
  readonly details?: EntryDetails
  readonly codec: CodecName | null
  readonly value: unknown
  readonly writtenWith: string
}

const ROOT = new URL('golden/', import.meta.url)
const VERSIONS = readdirSync(ROOT).filter((name) => /^v\d/.test(name))
const FRAMES = VERSIONS.flatMap((version) =>
  readdirSync(new URL(`${version}/`, ROOT)).filter((file) => file.endsWith('.bin')).map((file) => [version, file.slice(0, -'.bin'.length)] as const),
)

function open(version: string, name: string): { bytes: Buffer; golden: Golden } {
  const file = (extension: string): URL => new URL(`${version}/${name}.${extension}`, ROOT)
  return { bytes: readFileSync(file('bin')), golden: JSON.parse(readFileSync(file('json'), 'utf8')) as Golden }
}

/** The value behind the `$` tags that stand for what JSON lacks. */
function revive(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(revive)
  const [tag, content] = Object.entries(value)[0] ?? []
  switch (tag) {
    case '$bytes': return new Uint8Array(Buffer.from(content as string, 'base64'))
    case '$buffer': return Buffer.from(content as string, 'base64')
    case '$date': return new Date(content as number)
    case '$map': return new Map((content as [unknown, unknown][]).map(([key, item]) => [key, revive(item)]))
    case '$set': return new Set((content as unknown[]).map(revive))
    case '$bigint': return BigInt(content as string)
    case '$undefined': return undefined
    case '$minusZero': return -0
    default: return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]))
  }
}

const instant = (at: number | null): number => at ?? Number.POSITIVE_INFINITY

describe('frames of every released version', () => {
  test('are kept, those of this version among them', () => {
    expect(VERSIONS).toContain(`v${VERSION}`)
    for (const version of VERSIONS) expect(FRAMES.filter(([of]) => of === version).length).toBeGreaterThanOrEqual(12)
  })

  test.each(FRAMES)('%s %s is read as it was written', (version, name) => {
    const { bytes, golden } = open(version, name)
    const read = readFrame(bytes)
    if (!('content' in read)) throw new Error(`it is ${read.none}`)
    const { value, details, ...facts } = read.content
    const { tenant, key, createdAt, computeMicros, writtenWith: codec } = golden
    expect(facts).toEqual({ tenant, key, createdAt, computeMicros, codec, expiresAt: instant(golden.expiresAt), keepUntil: instant(golden.keepUntil) })
    const { keepUntil: _own, ...carried } = details ?? {}
    expect(carried).toEqual(golden.details ?? {})
    expect(sameValue(value, revive(golden.value))).toBe(true)
  })
})

describe('the encoder of today', () => {
  const current = FRAMES.filter(([version]) => version === `v${VERSION}`)

  test.each(current)('%s %s: writes the same bytes', (version, name) => {
    const { bytes, golden } = open(version, name)
    const { details, codec, tenant, key, createdAt, computeMicros } = golden
    const content = { tenant, key, createdAt, computeMicros, details, expiresAt: instant(golden.expiresAt), keepUntil: instant(golden.keepUntil), value: revive(golden.value) }
    const today = frameOf({ ...content, ...(codec === null ? {} : { codec }) })
    // V8 numbers its own format; under a newer one only what V8 wrote may differ
    const isSameV8 = golden.writtenWith !== 'v8' || bytes.includes(v8.serialize(0).subarray(0, 2))
    if (isSameV8) expect(today.equals(bytes)).toBe(true)
  })
})
