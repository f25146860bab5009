import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { decodeEscaped, encodeCaseExact, encodeCaseFolded, fitOrHash, isHashedName, validateKey, validatePrefix, validateTenant } from '@thermocline/backend'

/** Legal names, many of them a small change away from each other. */
const part = fc.constantFrom('a', 'A', '.', '..', '/', '%', '%2f', '%2F', '%61', '~', ' ', '-', '_', 'con', 'CON', 'nul', 'com1', '\\', ':', '*', '\u0001', 'é', 'e\u0301', 'İ', 'K', 'ß', '😀', 'x'.repeat(90))
const legal = fc
  .oneof(fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')), fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), fc.string({ minLength: 1, maxLength: 300 }))
  .filter((name) => !name.includes('\0') && name.isWellFormed() && Buffer.byteLength(name) <= 1024)
const nearby = fc.tuple(legal, legal, fc.constantFrom('none', 'upper', 'lower', 'twice', 'dot', 'nfc')).map(([a, b, change]): [string, string] => {
  const changed = { none: b, upper: a.toUpperCase(), lower: a.toLowerCase(), twice: encodeCaseExact(a), dot: `${a}.`, nfc: a.normalize('NFC') }[change]
  return [a, changed === undefined || changed.length === 0 || Buffer.byteLength(changed) > 1024 ? b : changed]
})
const ENCODERS = { encodeCaseExact, encodeCaseFolded } as const

describe.each(Object.entries(ENCODERS))('%s', (name, encode) => {
  const folds = name === 'encodeCaseFolded'
  /** What the store takes for the same name. */
  const seen = (encoded: string): string => (folds ? encoded.toLowerCase() : encoded)

  test('no two names meet, whole or cut to a limit', () => {
    fc.assert(
      fc.property(nearby, ([a, b]) => {
        fc.pre(a !== b)
        for (const limit of [100, 255, Number.POSITIVE_INFINITY]) expect(seen(fitOrHash(a, encode(a), limit))).not.toBe(seen(fitOrHash(b, encode(b), limit)))
      }),
      { numRuns: 3000 },
    )
  })

  test('an encoded name decodes to the name', () => {
    fc.assert(fc.property(legal, (key) => decodeEscaped(encode(key)) === key), { numRuns: 1000 })
  })

  test('an encoded name is safe: ASCII, one segment, no leading dot, within its limit', () => {
    fc.assert(
      fc.property(legal, (key) => {
        expect(encode(key)).toMatch(folds ? /^[a-z0-9_%-][a-z0-9._%-]*$/ : /^[A-Za-z0-9_%-][A-Za-z0-9._%-]*$/)
        for (const limit of [100, 255]) {
          const fitted = fitOrHash(key, encode(key), limit)
          expect(fitted.length).toBeLessThanOrEqual(limit)
          expect(isHashedName(fitted)).toBe(encode(key).length > limit)
        }
        if (folds) expect(encode(key)).not.toMatch(/\.$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i)
      }),
      { numRuns: 1000 },
    )
  })

  test('an everyday name stays as it is, for people to read', () => {
    for (const plain of ['frame_12.jpg', 'a-b', '0', '_']) expect(encode(plain)).toBe(plain)
  })
})

test('what no encoder emits decodes to nothing or to another name, and never throws', () => {
  expect(decodeEscaped('%zz')).toBeUndefined()
  expect(decodeEscaped('%ff')).toBeUndefined()
  fc.assert(fc.property(fc.string(), (text) => ['string', 'undefined'].includes(typeof decodeEscaped(text))))
})

describe('a name is refused with the rule it breaks', () => {
  const RULES: readonly (readonly [string, unknown, RegExp])[] = [
    ['empty', '', /^key must not be empty$/],
    ['too long', 'x'.repeat(1025), /^key must be at most 1024 UTF-8 bytes, this one has 1025$/],
    ['too long in bytes', 'ü'.repeat(513), /at most 1024 UTF-8 bytes, this one has 1026/],
    ['with a NUL', 'a\0b', /^key must not contain the NUL character$/],
    ['a lone surrogate', 'a\ud800', /^key must be well-formed Unicode/],
    ['no string', 7, /^key must be a string, not the number 7$/],
    ['an object', { toString: () => 'k' }, /^key must be a string, not an object$/],
    ['nothing', undefined, /^key must be a string, not undefined$/],
  ]
  test.each(RULES)('%s', (_what, given, message) => {
    expect(() => validateKey(given)).toThrow(message)
    expect(() => validateKey(given)).toThrow(TypeError)
  })

  test('tenants by 128 bytes, prefixes as keys', () => {
    expect(validateTenant('t'.repeat(128))).toBe('t'.repeat(128))
    expect(() => validateTenant('t'.repeat(129))).toThrow(/^tenant must be at most 128 UTF-8 bytes/)
    expect(() => validatePrefix('a\0')).toThrow(/^prefix must not contain/)
    expect([validatePrefix(undefined), validatePrefix(''), validatePrefix('a/')]).toEqual(['', '', 'a/'])
  })

  test('and every other is taken as it is', () => {
    for (const limit of ['x'.repeat(1024), 'ü'.repeat(512), '😀'.repeat(256), '../..', '__proto__']) expect(validateKey(limit)).toBe(limit)
    fc.assert(fc.property(legal, (name) => validateKey(name) === name))
  })
})
