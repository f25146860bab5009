import { describe, expect, test } from '@jest/globals'
import { MAX_KEY_BYTES, MAX_TENANT_BYTES } from '@thermocline/backend'
import { WEIRD_KEYS, WEIRD_TENANTS } from '@thermocline/testkit'
import fc from 'fast-check'
import { slotOf } from '../../../test/support/redis/index.js'
import { Names } from '../src/names.js'
import { scopeOf } from './support/shelf.js'

const names = new Names('tc:')

const legal = (maxBytes: number, weird: readonly string[]): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }),
      fc.string({ unit: fc.constantFrom('a', 'A', '%', '7', 'B', 'D', '2', '5', '3', '{', '}', ':', '*', '?', '[', ']', '\\', '/', ' '), minLength: 1, maxLength: 10 }),
      fc.constantFrom(...weird),
    )
    .filter((name) => name.isWellFormed() && !name.includes('\0') && Buffer.byteLength(name) <= maxBytes)
const legalKey = legal(MAX_KEY_BYTES, WEIRD_KEYS)
const legalTenant = legal(MAX_TENANT_BYTES, WEIRD_TENANTS)

/** What the server does with a pattern; see stringmatchlen in its util.c. */
function matches(pattern: string, name: string): boolean {
  const source = pattern.replace(/\\(.)|([\s\S])/gu, (_, escaped: string | undefined, plain: string | undefined) => {
    if (plain === '*') return '[\\s\\S]*'
    return `\\u{${(escaped ?? plain ?? '').codePointAt(0)!.toString(16)}}`
  })
  return new RegExp(`^${source}$`, 'u').test(name)
}

describe('names of keys', () => {
  test('ordinary ones are readable', () => {
    expect(names.of(scopeOf('acme'), 'embeddings/clip v1/0.npz')).toBe('tc:acme:embeddings/clip v1/0.npz')
    expect(names.of(scopeOf('a:b{c}%'), 'x:{y}%')).toBe('tc:a%3Ab%7Bc%7D%25:x:%7By%7D%25')
  })

  test('no two tenants and keys have the same name', () => {
    fc.assert(
      fc.property(legalTenant, legalKey, legalTenant, legalKey, (tenant, key, otherTenant, otherKey) => {
        fc.pre(tenant !== otherTenant || key !== otherKey)
        return names.of(scopeOf(tenant), key) !== names.of(scopeOf(otherTenant), otherKey)
      }),
      { numRuns: 2000 },
    )
  })

  test('a name tells its key, to its own tenant only', () => {
    fc.assert(
      fc.property(legalTenant, legalKey, legalTenant, (tenant, key, other) => {
        const name = names.of(scopeOf(tenant), key)
        expect(names.keyOf(scopeOf(tenant), name)).toBe(key)
        if (other !== tenant) expect(names.keyOf(scopeOf(other), name)).toBeUndefined()
      }),
      { numRuns: 1000 },
    )
  })

  test.each(['tc:acme:', 'tc:acme:a{b', 'tc:acme:100%', 'tc:acme:%7b', 'tc:acme:%61', 'tc:acme', 'TC:acme:a', 'acme:a'])('%s is nobody’s name', (name) => {
    expect(names.keyOf(scopeOf('acme'), name)).toBeUndefined()
  })

  test('a prefix of a key is a prefix of its name', () => {
    fc.assert(
      fc.property(legalTenant, legalKey, fc.nat(), (tenant, key, at) => {
        const characters = Array.from(key)
        const prefix = characters.slice(0, at % (characters.length + 1)).join('')
        return names.of(scopeOf(tenant), key).startsWith(names.of(scopeOf(tenant), prefix))
      }),
      { numRuns: 1000 },
    )
  })

  test('a pattern takes the keys with the prefix and no others', () => {
    fc.assert(
      fc.property(legalTenant, fc.oneof(fc.constant(''), legalKey), legalKey, fc.boolean(), (tenant, prefix, rest, isInside) => {
        const key = isInside ? prefix + rest : rest
        expect(matches(names.pattern(scopeOf(tenant), prefix), names.of(scopeOf(tenant), key))).toBe(key.startsWith(prefix))
      }),
      { numRuns: 2000 },
    )
  })

  test('a tenant spreads over all slots, whatever braces it and its keys have', () => {
    for (const tenant of ['acme', '{acme}', '}{', 'a{b']) {
      const slots = new Set(Array.from({ length: 200 }, (_, i) => slotOf(names.of(scopeOf(tenant), `{same}/${i}`))))
      expect(slots.size).toBeGreaterThan(150)
    }
    fc.assert(fc.property(legalTenant, legalKey, (tenant, key) => !/[{}]/.test(names.of(scopeOf(tenant), key))))
  })
})
