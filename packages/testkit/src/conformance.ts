import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { TenantScope, validateTenant, type CacheEntry } from '@thermocline/core'
import { acme, Bench, HOUR_MS, key, plain, type Subject } from './bench.js'
import { streamChecks } from './conformance-streams.js'
import { WEIRD_KEYS, WEIRD_TENANTS } from './key-corpus.js'
import { EXACT_VALUES, sameValue } from './values.js'

/** The two functions of a test runner that the suite needs; jest, vitest, mocha and node:test have them. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void
  readonly test: (name: string, body: () => Promise<void>) => void
}

export interface ConformanceOptions {
  /** The adapter's name, for the titles. */
  readonly name: string
  /** Makes a new subject for each test. */
  readonly create: () => Promise<Subject> | Subject
  /** Default: the runner's globals. */
  readonly runner?: TestRunner | undefined
  /** How many keys the checks take that try many. Default 1,000; fewer where a slow store goes through the suite again in another way. */
  readonly many?: number | undefined
}

/**
 * The conformance suite: what every backend promises its manager, whatever it stores in. An adapter's own test file is a call
 * of this, and the few things only it has. Run it again on every layer you wrap around it.
 */
export function describeBackend(options: ConformanceOptions): void {
  const runner = options.runner ?? (globalThis as unknown as TestRunner)
  if (typeof runner.describe !== 'function' || typeof runner.test !== 'function') {
    throw new TypeError('describeBackend needs a test runner: its globals describe and test, or { runner }')
  }
  const { describe, test } = runner
  const { many = 1000 } = options
  const check = (title: string, body: (bench: Bench) => Promise<void>): void => {
    test(title, async () => {
      const bench = new Bench(await options.create())
      try {
        await body(bench)
      } finally {
        await bench.close()
      }
    })
  }

  describe(`${options.name} keeps the backend contract`, () => {
    describe('reading and writing', () => {
      check('a miss is undefined', async (bench) => {
        assert.equal(await bench.get('nothing'), undefined)
      })
      check('what was put is found, with its instants, tags and metadata', async (bench) => {
        const createdAt = bench.now
        const expiresAt = createdAt + HOUR_MS
        const details = { tags: ['red', 'grün'], metadata: { source: 'käse', empty: '' }, staleAt: createdAt + 1000, fence: 7 }
        assert.equal(await bench.put('k', { a: 1 }, { createdAt, expiresAt, details, computeMicros: 1500 }), true)
        const entry = await bench.get('k')
        assert.ok(entry !== undefined)
        assert.deepEqual(bench.valueOf(entry), { a: 1 })
        assert.equal(entry.createdAt, createdAt)
        assert.equal(entry.expiresAt, expiresAt)
        assert.equal(entry.keepUntil, expiresAt)
        assert.equal(entry.computeMicros, 1500)
        assert.deepEqual(plain(entry.details), details)
      })
      check('an entry without an end keeps having none', async (bench) => {
        await bench.put('k', 1, { expiresAt: Number.POSITIVE_INFINITY })
        assert.equal((await bench.get('k'))?.expiresAt, Number.POSITIVE_INFINITY)
      })
      check('a keepUntil before the end is kept beside it and clamps nothing else', async (bench) => {
        const expiresAt = bench.now + HOUR_MS
        await bench.put('k', 1, { expiresAt, keepUntil: bench.now + 1000 })
        const entry = await bench.get('k')
        assert.equal(entry?.expiresAt, expiresAt)
        assert.equal(entry.keepUntil, bench.now + 1000)
      })
      check('a later put replaces the entry whole', async (bench) => {
        await bench.put('k', 'a much longer first value', { details: { metadata: { a: 'b' } } })
        await bench.put('k', 'second')
        const entry = await bench.get('k')
        assert.equal(entry === undefined ? undefined : bench.valueOf(entry), 'second')
        assert.equal(entry?.details?.metadata, undefined)
      })
      check('a put of what is over leaves nothing to be served', async (bench) => {
        await bench.put('k', 'old')
        assert.equal(await bench.put('k', 'over', { keepUntil: bench.now - 1 }), true)
        const entry = await bench.get('k')
        assert.ok(entry === undefined || entry.keepUntil < bench.now)
      })
      check('a head has the instants and metadata', async (bench) => {
        await bench.put('k', 'x'.repeat(100_000), { details: { metadata: { a: 'b' } } })
        const head = await bench.backend.get(bench.scope, key('k'), { want: 'head', touch: false })
        assert.deepEqual(plain(head?.details), { metadata: { a: 'b' } })
        assert.equal(head?.expiresAt, bench.now + HOUR_MS)
        if (bench.backend.capabilities.keeps === 'bytes') assert.equal(head?.encoded, undefined, 'the payload was not read')
      })
      for (const [name, make] of EXACT_VALUES) {
        check(`${name} comes back as it went in`, async (bench) => {
          await bench.put('k', make())
          const entry = await bench.get('k')
          assert.ok(entry !== undefined, 'stored, so not a miss')
          assert.ok(sameValue(bench.valueOf(entry), make()), `got ${inspect(bench.valueOf(entry))} instead of ${inspect(make())}`)
        })
      }
      check('payloads of many sizes come back to the byte', async (bench) => {
        for (const size of [0, 1, 4095, 4096, 16_000, 16_384, 65_536, 3_000_001]) {
          const bytes = Buffer.alloc(size, size % 251)
          if (size > 0) bytes[size - 1] = 255
          if (await bench.put(`size-${size}`, bytes)) assert.ok(bytes.equals(bench.valueOf(await bench.got(`size-${size}`)) as Buffer), `${size} bytes`)
        }
      })
      check('a payload above the stated limit is refused and leaves nothing', async (bench) => {
        const limit = bench.backend.capabilities.maxPayloadBytes
        if (limit === undefined || limit > 64 * 1024 ** 2) return
        assert.equal(await bench.put('k', Buffer.alloc(limit + 1)), false)
        assert.equal(await bench.get('k'), undefined)
      })
    })

    describe('reading many at once', () => {
      const read = async (bench: Bench, names: readonly string[], want: 'head' | 'payload' = 'payload'): Promise<readonly (CacheEntry | undefined)[]> =>
        bench.backend.getMany(bench.scope, names.map(key), { want, touch: true })
      check('answers in the order of the keys, misses included', async (bench) => {
        for (const name of ['a', 'b', 'd']) await bench.put(name, `value of ${name}`)
        const entries = await read(bench, ['d', 'c', 'a', 'b', 'a'])
        assert.deepEqual(entries.map((entry) => (entry === undefined ? undefined : bench.valueOf(entry))), ['value of d', undefined, 'value of a', 'value of b', 'value of a'])
        assert.deepEqual(await read(bench, []), [])
      })
      check('takes hundreds of keys, weird ones, and small beside large', async (bench) => {
        const names = [...WEIRD_KEYS, ...Array.from({ length: Math.min(300, many) }, (_, i) => `key-${i}`)]
        await Promise.all(names.map((name) => bench.put(name, name)))
        const large = Buffer.alloc(600_000, 7)
        await bench.put('large', large)
        for (let round = 0; round < 2; round++) {
          const entries = await read(bench, [...names, 'large'])
          assert.deepEqual(entries.slice(0, -1).map((entry) => entry && bench.valueOf(entry)), names)
          assert.ok(large.equals(bench.valueOf(entries.at(-1) as CacheEntry) as Buffer))
        }
      })
      check('reads heads without payloads', async (bench) => {
        await bench.put('k', 'x'.repeat(50_000), { details: { metadata: { a: 'b' } } })
        const [head, miss] = await read(bench, ['k', 'nothing'], 'head')
        assert.deepEqual(plain(head?.details), { metadata: { a: 'b' } })
        assert.equal(miss, undefined)
        if (bench.backend.capabilities.keeps === 'bytes') assert.equal(head?.encoded, undefined, 'the payload was not read')
      })
    })

    describe('onlyIfAbsent', () => {
      check('stores where nothing is', async (bench) => {
        assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), true)
        assert.equal(bench.valueOf(await bench.got('k')), 'new')
      })
      check('does not touch what is there', async (bench) => {
        await bench.put('k', 'old')
        assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), false)
        assert.equal(bench.valueOf(await bench.got('k')), 'old')
      })
      check('replaces what may no longer be served', async (bench) => {
        await bench.put('k', 'old', { keepUntil: bench.now - 1 })
        assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), true)
        assert.equal(bench.valueOf(await bench.got('k')), 'new')
      })
      check('leaves what is there also when the new entry is over already', async (bench) => {
        await bench.put('k', 'old')
        assert.equal(await bench.put('k', 'over', { onlyIfAbsent: true, keepUntil: bench.now - 1 }), false)
        assert.equal(bench.valueOf(await bench.got('k')), 'old')
        await bench.put('nothing', 'over', { onlyIfAbsent: true, keepUntil: bench.now - 1 }) // stored or not
        const entry = await bench.get('nothing')
        assert.ok(entry === undefined || entry.keepUntil < bench.now)
      })
      check('has one winner among many', async (bench) => {
        const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => bench.put('k', `value ${i}`, { onlyIfAbsent: true })))
        assert.equal(outcomes.filter(Boolean).length, 1)
        assert.equal(bench.valueOf(await bench.got('k')), `value ${outcomes.indexOf(true)}`)
      })
    })

    describe('removing', () => {
      check('delete removes and counts what was there', async (bench) => {
        await bench.put('a', 1)
        await bench.put('b', 2)
        const deleted = await bench.backend.delete(bench.scope, [key('a'), key('b'), key('c')], {})
        assert.ok(deleted === 2 || deleted === undefined, `2 or unknown, not ${deleted}`)
        assert.equal(await bench.get('a'), undefined)
        assert.equal(await bench.get('b'), undefined)
      })
      check('delete does not count what was over', async (bench) => {
        await bench.put('a', 1, { keepUntil: bench.now - 1 })
        const deleted = await bench.backend.delete(bench.scope, [key('a')], {})
        assert.ok(deleted === 0 || deleted === undefined, `0 or unknown, not ${deleted}`)
      })
      check('delete takes no keys, the same key twice, and many', async (bench) => {
        const count = async (names: readonly string[]): Promise<number | undefined> => bench.backend.delete(bench.scope, names.map(key), {})
        assert.ok([0, undefined].includes(await count([])))
        await bench.put('twice', 1)
        assert.ok([1, undefined].includes(await count(['twice', 'twice'])))
        const names = Array.from({ length: many }, (_, i) => `many/${i}`)
        await Promise.all(names.map((name) => bench.put(name, 1)))
        assert.ok([many, undefined].includes(await count(names)))
        assert.deepEqual(await bench.keys(''), [])
      })
      check('clear takes a plain string prefix', async (bench) => {
        const inside = ['docs/a', 'docs/b/c', 'docs-1', 'docs*', 'docs?', 'docs\u{10FFFF}', 'docs\u{10FFFF}x', 'docs\uffff']
        const outside = ['doc', 'Docs/a', 'a/docs/', 'dokcs/a']
        for (const name of [...inside, ...outside]) await bench.put(name, name)
        const cleared = await bench.backend.clear(bench.scope, 'docs', {})
        assert.ok(cleared === inside.length || cleared === undefined, `${inside.length} or unknown, not ${cleared}`)
        for (const name of inside) assert.equal(await bench.get(name), undefined, name)
        for (const name of outside) assert.equal(bench.valueOf(await bench.got(name)), name)
      })
      check('clear leaves what is not among those that are to go', async (bench) => {
        const long = `docs/${'x'.repeat(900)}`
        for (const name of ['docs/a/1', 'docs/b/1', 'docs/c', long, 'a/1']) await bench.put(name, name)
        await bench.backend.clear(bench.scope, 'docs/', { only: (key) => key.startsWith('docs/a/') || key === long })
        assert.deepEqual((await bench.keys('')).sort(), ['a/1', 'docs/b/1', 'docs/c'])
        await bench.backend.clear(bench.scope, '', { only: (key) => key.endsWith('1') })
        assert.deepEqual(await bench.keys(''), ['docs/c'])
      })
      check('clear takes no prefix for a pattern', async (bench) => {
        for (const name of ['*', 'a*b', 'axb', '[a]', 'a', '?', '{a}']) await bench.put(name, name)
        await bench.backend.clear(bench.scope, 'a*', {})
        assert.deepEqual((await bench.keys('')).sort(), ['*', '[a]', 'a', 'axb', '?', '{a}'].sort())
      })
      check('clear without a prefix removes everything, weird keys included', async (bench) => {
        for (const name of WEIRD_KEYS) await bench.put(name, name)
        await bench.backend.clear(bench.scope, '', {})
        assert.deepEqual(await bench.keys(''), [])
      })
    })

    describe('listing', () => {
      check('lists each key under the prefix once', async (bench) => {
        for (let i = 0; i < 300; i++) await bench.put(`${i % 3 === 0 ? 'in' : 'out'}/${i}`, i)
        const keys = await bench.keys('in/')
        assert.equal(keys.length, 100)
        assert.equal(new Set(keys).size, 100)
        assert.ok(keys.every((name) => name.startsWith('in/')))
      })
      check('tells size and end with detail', async (bench) => {
        await bench.put('k', Buffer.alloc(1000), { expiresAt: bench.now + HOUR_MS })
        await bench.put('for ever', Buffer.alloc(1000), { expiresAt: Number.POSITIVE_INFINITY })
        const infos = await bench.list('', 'info')
        assert.ok(infos.every(({ size }) => size !== undefined && size >= 1000))
        assert.equal(infos.find((info) => info.key === 'k')?.expiresAt, bench.now + HOUR_MS)
        assert.equal(infos.find((info) => info.key === 'for ever')?.expiresAt, Number.POSITIVE_INFINITY)
      })
      check('may be left early', async (bench) => {
        for (let i = 0; i < 100; i++) await bench.put(`k${i}`, i)
        let seen = 0
        for await (const _ of bench.backend.list(bench.scope, '', { detail: 'keys' })) if (++seen === 3) break
        assert.equal((await bench.keys('')).length, 100)
      })
      check('lists weird keys as they are', async (bench) => {
        for (const name of WEIRD_KEYS) await bench.put(name, 1)
        assert.deepEqual((await bench.keys('')).sort(), [...WEIRD_KEYS].sort())
      })
    })

    describe('keys and tenants', () => {
      check('no two weird keys meet', async (bench) => {
        for (const name of WEIRD_KEYS) assert.equal(await bench.put(name, `value of ${name}`), true, name)
        for (const name of WEIRD_KEYS) assert.equal(bench.valueOf(await bench.got(name)), `value of ${name}`)
        for (const name of WEIRD_KEYS) {
          const deleted = await bench.backend.delete(bench.scope, [key(name)], {})
          assert.ok(deleted === 1 || deleted === undefined, name)
        }
      })
      check('no two tenants meet', async (bench) => {
        const scopes = WEIRD_TENANTS.map((tenant) => new TenantScope(validateTenant(tenant)))
        for (const scope of scopes) await bench.put('k', `of ${scope.tenant}`, {}, scope)
        for (const scope of scopes) assert.equal(bench.valueOf(await bench.got('k', scope)), `of ${scope.tenant}`)
        const [first, ...others] = scopes as [TenantScope, ...TenantScope[]]
        await bench.backend.clear(first, '', {})
        assert.equal(await bench.get('k', first), undefined)
        for (const scope of others) assert.deepEqual(await bench.keys('', scope), ['k'])
      })
      check('two scopes of one tenant are one tenant', async (bench) => {
        await bench.put('k', 'from one manager', {}, acme())
        assert.equal(bench.valueOf(await bench.got('k', acme())), 'from one manager')
        await bench.backend.clear(acme(), '', {})
        await bench.put('k', 'again', {}, acme())
        assert.equal(bench.valueOf(await bench.got('k')), 'again')
      })
    })

    describe('concurrency', () => {
      check('a reader sees one whole value or another', async (bench) => {
        const values = Array.from({ length: 8 }, (_, i) => Buffer.alloc(60_000 + i, i))
        const writing = Promise.all(Array.from({ length: 40 }, (_, i) => bench.put('k', values[i % 8])))
        for (let i = 0; i < 40; i++) {
          const entry = await bench.get('k')
          if (entry === undefined) continue
          const seen = bench.valueOf(entry) as Buffer
          assert.ok(values.some((value) => value.equals(seen)), `a value of ${seen.length} bytes that nobody wrote`)
        }
        await writing
        assert.deepEqual(bench.failures, [])
      })
      check('many keys at once do not disturb each other', async (bench) => {
        const names = Array.from({ length: 200 }, (_, i) => `key-${i}`)
        await Promise.all(names.map((name) => bench.put(name, name)))
        const entries = await Promise.all(names.map((name) => bench.got(name)))
        assert.deepEqual(entries.map((entry) => bench.valueOf(entry)), names)
      })
    })

    describe('streams, where the backend has them', () => {
      streamChecks((title, body) => {
        check(title, async (bench) => {
          if (bench.backend.capabilities.streams) await body(bench)
        })
      })
    })

    describe('living and ending', () => {
      check('stats are numbers or unknown', async (bench) => {
        await bench.put('k', 'value')
        for (const stats of [await bench.backend.stats(), await bench.backend.stats(bench.scope)]) {
          for (const value of [stats.entries, stats.bytes]) assert.ok(value === undefined || (Number.isInteger(value) && value >= 0))
        }
      })
      check('serves two managers and ends with the last', async (bench) => {
        const detach = bench.backend.attach({ ...bench.host })
        await bench.put('k', 'value')
        detach()
        await bench.backend[Symbol.asyncDispose]()
        assert.equal(bench.valueOf(await bench.got('k')), 'value')
      })
      check('closing twice is harmless', async (bench) => {
        await bench.put('k', 'value')
        await bench.close()
        await bench.backend[Symbol.asyncDispose]()
      })
      check('a durable store is still there after reopening', async (bench) => {
        if (!bench.backend.capabilities.durable || bench.subject.reopen === undefined) return
        for (const name of WEIRD_KEYS) await bench.put(name, `value of ${name}`)
        await bench.detach()
        const reopened = new Bench({ backend: await bench.subject.reopen() })
        for (const name of WEIRD_KEYS) assert.equal(reopened.valueOf(await reopened.got(name)), `value of ${name}`)
        await reopened.close()
      })
    })
  })
}
