import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { NO_VALUE } from '@thermocline/backend'
import { Bench, type Evicted } from './support/bench.js'

interface Step {
  readonly does: 'put' | 'add' | 'use' | 'look' | 'remove' | 'clear'
  readonly tenant: string
  readonly key: string
  readonly bytes: number
}

interface Limits {
  readonly maxEntries: number
  readonly maxBytes: number
  readonly quota: number
}

/** One list over all tenants, oldest first: what the backend must look like from outside. */
class Naive {
  entries: { tenant: string; key: string; bytes: number }[] = []
  readonly evicted: Evicted[] = []
  readonly #limits: Limits

  constructor(limits: Limits) {
    this.#limits = limits
  }

  take({ does, tenant, key, bytes }: Step): void {
    const own = this.entries.find((entry) => entry.tenant === tenant && entry.key === key)
    const isOwn = (entry: { tenant: string }): boolean => entry.tenant === tenant
    if (does === 'look' || (does === 'add' && own !== undefined)) return
    if (does === 'clear') this.entries = this.entries.filter((entry) => !isOwn(entry))
    else if (own !== undefined) this.entries.splice(this.entries.indexOf(own), 1)
    if (does === 'use' && own !== undefined) this.entries.push(own)
    if ((does !== 'put' && does !== 'add') || bytes > this.#limits.maxBytes) return
    this.entries.push({ tenant, key, bytes })
    while (this.entries.filter(isOwn).length > this.#limits.quota) this.#evict(this.entries.findIndex(isOwn), 'quota')
    while (this.entries.length > this.#limits.maxEntries || this.bytes > this.#limits.maxBytes) this.#evict(0, 'space')
  }

  get bytes(): number {
    return this.entries.reduce((sum, entry) => sum + entry.bytes, 0)
  }

  #evict(at: number, reason: 'quota' | 'space'): void {
    for (const { tenant, key } of this.entries.splice(at, 1)) this.evicted.push([tenant, key, reason])
  }
}

const step: fc.Arbitrary<Step> = fc.record({
  does: fc.oneof({ weight: 6, arbitrary: fc.constant('put' as const) }, { weight: 5, arbitrary: fc.constant('use' as const) }, { weight: 2, arbitrary: fc.constantFrom('add' as const, 'look' as const, 'remove' as const, 'clear' as const) }),
  tenant: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
  key: fc.constantFrom('1', '2', '3', '4'),
  bytes: fc.integer({ min: 1, max: 40 }),
})
const limits: fc.Arbitrary<Limits> = fc.record({ maxEntries: fc.integer({ min: 1, max: 12 }), maxBytes: fc.integer({ min: 30, max: 200 }), quota: fc.integer({ min: 1, max: 4 }) })

test('the oldest entry of all tenants goes first, whatever was put, used, looked at and removed before', () => {
  fc.assert(
    fc.property(limits, fc.array(step, { minLength: 1, maxLength: 120 }), (given, steps) => {
      const model = new Naive(given)
      const bench = new Bench({ maxEntries: given.maxEntries, maxBytes: given.maxBytes, tenantQuota: { maxEntries: given.quota } })
      for (const { does, tenant, key, bytes } of steps) {
        if (does === 'put' || does === 'add') bench.put(tenant, key, { bytes, onlyIfAbsent: does === 'add' })
        else if (does === 'clear') bench.backend.clear(bench.scope(tenant), '')
        else if (does === 'remove') bench.remove(tenant, key)
        else bench[does](tenant, key)
        model.take({ does, tenant, key, bytes })
        expect(bench.evicted).toEqual(model.evicted)
        expect(bench.backend.stats()).toMatchObject({ entries: model.entries.length, bytes: model.bytes })
      }
      for (const { tenant, key } of model.entries) expect(bench.look(tenant, key)).not.toBe(NO_VALUE)
    }),
    { numRuns: 300 },
  )
})
