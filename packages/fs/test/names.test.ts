import { readdirSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { MAX_KEY_BYTES, MAX_TENANT_BYTES } from '@thermocline/backend'
import { WEIRD_KEYS, WEIRD_TENANTS } from '@thermocline/testkit'
import fc from 'fast-check'
import { fileName, isEntryName, keyOfName, layoutOf, tenantDirectory } from '../src/layout.js'
import { scopeOf, Shelf } from './support/shelf.js'

const LONGEST_NAME = 255
const layout = layoutOf('/base')
const directoryOf = (tenant: string): string => tenantDirectory(layout, scopeOf(tenant))

const legal = (maxBytes: number): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }),
      fc.string({ unit: fc.constantFrom('a', 'A', 'İ', 'i', '.', '/', '%', '~', '-', '2', 'f', 'F', ' '), minLength: 1, maxLength: 12 }),
      fc.constantFrom(...WEIRD_KEYS),
    )
    .filter((name) => !name.includes('\0') && Buffer.byteLength(name) <= maxBytes)
const legalKey = legal(MAX_KEY_BYTES)
const legalTenant = legal(MAX_TENANT_BYTES)

/** What a file system that folds case, and normalises, may take for the same name. */
function folds(name: string): string[] {
  return [name, name.toLowerCase(), name.toUpperCase(), name.normalize('NFC'), name.normalize('NFD'), name.toLowerCase().normalize('NFKC')]
}

function meet(a: string, b: string): boolean {
  const others = new Set(folds(b))
  return folds(a).some((name) => others.has(name))
}

describe('file names', () => {
  test('no two weird keys have names that meet where case is folded', () => {
    expect(new Set(WEIRD_KEYS.map((key) => fileName(key).toLowerCase())).size).toBe(WEIRD_KEYS.length)
  })

  test('no two weird tenants have directories that meet where case is folded', () => {
    expect(new Set(WEIRD_TENANTS.map((tenant) => directoryOf(tenant).toLowerCase())).size).toBe(WEIRD_TENANTS.length)
  })

  test.each(WEIRD_KEYS.map((key) => [key.slice(0, 40), key]))('%j becomes one short, plain name', (_short, key) => {
    const name = fileName(key)
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(LONGEST_NAME)
    expect(name).toMatch(/^[a-z0-9_%~-][a-z0-9._%-]*\.tc$/)
    expect(name).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/)
    expect(path.basename(path.join('/base', name))).toBe(name)
    expect(isEntryName(name)).toBe(true)
  })

  test('any two legal keys have names that do not meet', () => {
    fc.assert(fc.property(legalKey, legalKey, (a, b) => a === b || !meet(fileName(a), fileName(b))), { numRuns: 1000 })
  })

  test('a key and its case-folded or normalised spellings do not meet', () => {
    fc.assert(fc.property(legalKey, (key) => folds(key).every((other) => other === key || !meet(fileName(key), fileName(other)))), { numRuns: 1000 })
  })

  test('any two legal tenants have directories that do not meet, inside the tenants directory', () => {
    fc.assert(
      fc.property(legalTenant, legalTenant, (a, b) => {
        const directory = directoryOf(a)
        expect(path.dirname(path.normalize(directory))).toBe(layout.tenants)
        expect(Buffer.byteLength(path.basename(directory))).toBeLessThanOrEqual(LONGEST_NAME)
        return a === b || !meet(directory, directoryOf(b))
      }),
      { numRuns: 500 },
    )
  })

  test('the name tells the key, or that only the header knows it', () => {
    fc.assert(fc.property(legalKey, (key) => [key, undefined].includes(keyOfName(fileName(key)))), { numRuns: 1000 })
  })

  test.each(['A.tc', 'a%2Fb.tc', '%61.tc', '~short.tc', '%zz.tc', '%00.tc', '.tc', 'a', 'a.TC', '.a.tc', 'con.tc'])('%s is nobody’s name', (name) => {
    expect(isEntryName(name)).toBe(false)
  })
})

describe('on a real disk', () => {
  test('weird keys of weird tenants are files directly in their tenant’s directory, and nothing is anywhere else', async () => {
    const shelf = new Shelf()
    const tenants = WEIRD_TENANTS.filter((_, i) => i % 25 === 0)
    for (const tenant of tenants) for (const key of WEIRD_KEYS) await shelf.put(key, `${tenant} ${key}`, { tenant })
    for (const tenant of tenants) {
      for (const key of WEIRD_KEYS) expect(String(await shelf.get(key, { tenant }))).toBe(`${tenant} ${key}`)
      expect(await shelf.keys(tenant)).toEqual([...WEIRD_KEYS].sort())
    }
    expect(readdirSync(shelf.basePath)).toEqual(['thermocline'])
    expect(readdirSync(shelf.root).sort()).toEqual(['THERMOCLINE', 'tenants', 'tmp'])
    const tree = readdirSync(path.join(shelf.root, 'tenants'), { recursive: true }) as string[]
    expect(tree).toHaveLength(tenants.length * (WEIRD_KEYS.length + 1))
    expect(Math.max(...tree.map((file) => file.split(path.sep).length))).toBe(2)
  })
})
