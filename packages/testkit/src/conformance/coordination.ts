import assert from 'node:assert/strict'
import {
  CacheEntry,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type BackendHost,
  type CacheBackend,
  type Coordination,
  type Coordinator,
  type Lease,
  type LoggedMessage,
  type LogMessage,
  type PutOptions,
  type ValidKey,
} from '@thermocline/backend'
import { WEIRD_KEYS } from '../key-corpus.js'
import type { TestRunner } from './suite.js'

/** Two backends over the same store, as two processes have them. */
export interface CoordinationSubject {
  readonly one: CacheBackend & Coordinator
  readonly other: CacheBackend & Coordinator
  /** Forgets all lines and the log, as a store does that evicts everything. */
  readonly forget: () => Promise<void>
  /** Removes the oldest messages of the log but for so many. */
  readonly trim: (left: number) => Promise<void>
  readonly cleanUp?: (() => Promise<void>) | undefined
}

export interface CoordinationConformanceOptions {
  /** The adapter's name, for the titles. */
  readonly name: string
  /** Makes a new subject for each test; its store is empty. */
  readonly create: () => Promise<CoordinationSubject> | CoordinationSubject
  /** Default: the runner's globals. */
  readonly runner?: TestRunner | undefined
}

/** Used up messages and tokens: never the same again. */
let made = 0
const token = (): string => `token-${String(++made).padStart(8, '0')}`
const message = (text = 'said'): LogMessage => ({ id: `id-${++made}`, text })

/** The two, opened, and what a test does with them. */
class Pair {
  readonly scope = new TenantScope(validateTenant('acme'))
  readonly key = validateKey('docs/a')
  readonly one: Coordination
  readonly other: Coordination
  readonly subject: CoordinationSubject
  readonly #detach: readonly (() => void)[]

  constructor(subject: CoordinationSubject) {
    this.subject = subject
    const host: BackendHost = { clock: systemClock, evicted: () => undefined, demotes: () => false, report: (error) => assert.fail(error) }
    this.#detach = [subject.one.attach(host), subject.other.attach(host)]
    this.one = subject.one.openCoordination()
    this.other = subject.other.openCoordination()
  }

  lease(of: string, ended: Lease['ended'] = () => undefined): Lease {
    return { token: of, wake: message('wake'), ended }
  }

  put(backend: CacheBackend, value: string, options: Partial<PutOptions> = {}, key: ValidKey = this.key): Promise<boolean> {
    const bytes = Buffer.from(value)
    const now = systemClock.now()
    const entry = new CacheEntry(value, { codec: 'utf8', bytes }, { createdAt: now, expiresAt: now + 60_000 })
    return Promise.resolve(backend.put(this.scope, key, entry, { onlyIfAbsent: false, keepUntil: now + 60_000, ...options }))
  }

  async get(key: ValidKey = this.key): Promise<string | undefined> {
    const entry = await this.subject.other.get(this.scope, key, { want: 'payload', touch: true })
    return entry?.encoded && Buffer.from(entry.encoded.bytes).toString()
  }

  /** Everything in the log. */
  log(after = this.one.beginning): Promise<readonly LoggedMessage[]> {
    return this.other.read(after, 0, {})
  }

  async keys(): Promise<string[]> {
    const keys: string[] = []
    for await (const { key } of this.subject.other.list(this.scope, '', { detail: 'info' })) keys.push(key)
    return keys
  }

  async texts(): Promise<string[]> {
    return (await this.log()).map(({ text }) => text)
  }

  async close(): Promise<void> {
    for (const detach of this.#detach) detach()
    await Promise.all([this.one.close(), this.other.close()])
    await Promise.all([this.subject.one[Symbol.asyncDispose](), this.subject.other[Symbol.asyncDispose]()])
    await this.subject.cleanUp?.()
  }
}

/**
 * The conformance suite of coordination: what a store over which processes agree promises. Lines, fenced puts, announced changes, and the log.
 */
export function describeCoordination(options: CoordinationConformanceOptions): void {
  const { describe, test } = options.runner ?? (globalThis as unknown as TestRunner)
  const check = (title: string, body: (pair: Pair) => Promise<void>): void =>
    test(title, async () => {
      const pair = new Pair(await options.create())
      try {
        await body(pair)
      } finally {
        await pair.close()
      }
    })

  describe(`processes can be coordinated over ${options.name}`, () => {
    describe('lines', () => lineChecks(check))
    describe('fenced puts', () => fenceChecks(check))
    describe('announced changes', () => announcementChecks(check))
    describe('the log', () => logChecks(check))
  })
}

type PairCheck = (title: string, body: (pair: Pair) => Promise<void>) => void

function lineChecks(check: PairCheck): void {
  check('the first to enter is first, the others stand behind', async ({ one, other, scope, key }) => {
    const [first, second] = [token(), token()]
    const entered = await one.enter(scope, key, first, {})
    assert.deepEqual(entered, { first, isFirst: true, isListed: true, isStored: false })
    assert.deepEqual(await other.enter(scope, key, second, {}), { first, isFirst: false, isListed: true, isStored: false })
    assert.deepEqual(await other.look(scope, key, second, {}), { first, isFirst: false, isListed: true, isStored: false })
    assert.deepEqual(await other.look(scope, key, token(), {}), { first, isFirst: false, isListed: false, isStored: false })
  })
  check('who enters twice stands there once', async ({ one, other, scope, key }) => {
    const [first, second] = [token(), token()]
    for (let n = 0; n < 3; n++) assert.equal((await one.enter(scope, key, first, {})).isFirst, true)
    await other.enter(scope, key, second, {})
    await one.leave(scope, key, first, message(), {})
    assert.equal((await other.look(scope, key, second, {})).isFirst, true)
    assert.equal((await one.look(scope, key, first, {})).isListed, false)
  })
  check('lines of keys and tenants are apart', async ({ one, scope }) => {
    const others = [...new Set([...WEIRD_KEYS.slice(0, 40), 'a', 'a}', 'a{', '{a}', 'a%7D'])].map((name) => validateKey(name))
    for (const [n, key] of others.entries()) assert.equal((await one.enter(scope, key, `apart-${n}`, {})).first, `apart-${n}`, key)
    const elsewhere = new TenantScope(validateTenant('globex'))
    for (const key of others) assert.equal((await one.look(elsewhere, key, 'apart-0', {})).first, undefined, key)
  })
  check('a line says whether an entry is there', async (pair) => {
    const { one, subject, scope, key } = pair
    assert.equal((await one.enter(scope, key, token(), {})).isStored, false)
    await pair.put(subject.one, 'v')
    assert.equal((await one.look(scope, key, token(), {})).isStored, true)
  })
  check('renewing changes how the first one looks, and nothing else', async ({ one, other, scope, key }) => {
    const [first, second] = [token(), token()]
    await one.enter(scope, key, first, {})
    const { first: before } = await other.enter(scope, key, second, {})
    assert.equal(await one.renew(scope, key, first, 1, {}), true)
    const { first: after } = await other.look(scope, key, second, {})
    assert.notEqual(after, before)
    assert.equal(await one.renew(scope, key, first, 2, {}), true)
    assert.notEqual((await other.look(scope, key, second, {})).first, after)
    assert.equal((await one.look(scope, key, first, {})).isFirst, true)
    assert.equal(await other.renew(scope, key, second, 1, {}), true)
    assert.equal((await one.look(scope, key, first, {})).isFirst, true)
    assert.equal(await one.renew(scope, key, token(), 1, {}), false)
  })
  check('taking over puts one in the place of who was first', async ({ one, other, scope, key }) => {
    const [first, second, third] = [token(), token(), token()]
    await one.enter(scope, key, first, {})
    await other.enter(scope, key, second, {})
    await other.enter(scope, key, third, {})
    assert.equal(await other.takeOver(scope, key, third, second, {}), false)
    await one.renew(scope, key, first, 1, {})
    assert.equal(await other.takeOver(scope, key, third, first, {}), false, 'it was renewed since')
    const seen = (await other.look(scope, key, third, {})).first as string
    assert.equal(await other.takeOver(scope, key, third, seen, {}), true)
    assert.equal((await other.look(scope, key, third, {})).isFirst, true)
    assert.equal((await one.look(scope, key, first, {})).isListed, false)
    assert.equal((await other.look(scope, key, second, {})).isListed, true)
  })
  check('the first who leaves wakes those behind; nobody else wakes anybody', async (pair) => {
    const { one, other, scope, key } = pair
    const [first, second] = [token(), token()]
    await one.enter(scope, key, first, {})
    await other.enter(scope, key, second, {})
    await one.leave(scope, key, first, message('woken'), {})
    assert.deepEqual(await pair.texts(), ['woken'])
    assert.equal((await other.look(scope, key, second, {})).isFirst, true)
    const third = token()
    await one.enter(scope, key, third, {})
    await one.leave(scope, key, third, message('it was not first'), {})
    assert.deepEqual(await pair.texts(), ['woken'])
    await other.leave(scope, key, second, message('nobody'), {})
    await other.leave(scope, key, second, message('twice'), {})
    assert.deepEqual(await pair.texts(), ['woken'])
  })
  check('many who enter at once are all in the line, and one is first', async ({ one, other, scope, key }) => {
    const tokens = Array.from({ length: 100 }, token)
    const entered = await Promise.all(tokens.map((each, n) => (n % 2 === 0 ? one : other).enter(scope, key, each, {})))
    assert.equal(entered.filter(({ isFirst }) => isFirst).length, 1)
    const looks = await Promise.all(tokens.map((each) => one.look(scope, key, each, {})))
    assert.ok(looks.every(({ isListed }) => isListed))
  })
}

function fenceChecks(check: PairCheck): void {
  check('a put with a lease is stored, and empties the line', async (pair) => {
    const { one, subject, scope, key } = pair
    const first = token()
    await one.enter(scope, key, first, {})
    const outcomes: string[] = []
    assert.equal(await pair.put(subject.one, 'made', { lease: pair.lease(first, (outcome) => outcomes.push(outcome)) }), true)
    assert.deepEqual(outcomes, ['stored'])
    assert.equal(await pair.get(), 'made')
    assert.equal((await one.look(scope, key, first, {})).first, undefined)
    assert.deepEqual(await pair.log(), [], 'nobody waited')
  })
  check('a renewed lease is as good', async (pair) => {
    const { one, subject, scope, key } = pair
    const first = token()
    await one.enter(scope, key, first, {})
    await one.renew(scope, key, first, 12, {})
    assert.equal(await pair.put(subject.one, 'made', { lease: pair.lease(first) }), true)
  })
  check('a put whose lease is gone stores nothing', async (pair) => {
    const { one, subject, scope, key } = pair
    for (const how of ['never entered', 'emptied', 'left', 'announced', 'deleted', 'set', 'forgotten', 'emptied under'] as const) {
      await subject.one.delete(scope, [key], {})
      const first = token()
      if (how !== 'never entered') await one.enter(scope, key, first, {})
      if (how === 'emptied') await one.empty(scope, [key], {})
      if (how === 'left') await one.leave(scope, key, first, message(), {})
      if (how === 'announced') await pair.other.announce(scope, key, message(), {})
      if (how === 'deleted') await subject.other.delete(scope, [key], { announces: message() })
      if (how === 'set') await pair.put(subject.other, 'set', { announces: message() })
      if (how === 'forgotten') await subject.forget()
      if (how === 'emptied under') await pair.other.emptyUnder(scope, 'docs/', {})
      const outcomes: string[] = []
      assert.equal(await pair.put(subject.one, 'late', { lease: pair.lease(first, (outcome) => outcomes.push(outcome)) }), false, how)
      assert.deepEqual(outcomes, ['lost'], how)
      assert.equal(await pair.get(), how === 'set' ? 'set' : undefined, how)
    }
  })
  check('who is not first may store, and who was first then may not', async (pair) => {
    const { one, other, subject, scope, key } = pair
    const [first, second] = [token(), token()]
    await one.enter(scope, key, first, {})
    await other.enter(scope, key, second, {})
    assert.equal(await pair.put(subject.other, 'second', { lease: pair.lease(second) }), true)
    assert.deepEqual(await pair.texts(), ['wake'])
    assert.equal(await pair.put(subject.one, 'first', { lease: pair.lease(first) }), false)
    assert.equal(await pair.get(), 'second')
  })
  check('with a lease and onlyIfAbsent, what is there stays and the lease is used up', async (pair) => {
    const { one, subject, scope, key } = pair
    await pair.put(subject.one, 'there')
    const first = token()
    await one.enter(scope, key, first, {})
    const outcomes: string[] = []
    assert.equal(await pair.put(subject.one, 'promoted', { onlyIfAbsent: true, lease: pair.lease(first, (outcome) => outcomes.push(outcome)) }), false)
    assert.deepEqual(outcomes, ['kept'])
    assert.equal(await pair.get(), 'there')
    assert.equal((await one.look(scope, key, first, {})).isListed, false)
  })
  check('of many puts with leases of one key one is stored', async (pair) => {
    const { one, other, subject, scope, key } = pair
    const tokens = Array.from({ length: 40 }, token)
    await Promise.all(tokens.map((each, n) => (n % 2 === 0 ? one : other).enter(scope, key, each, {})))
    const stored = await Promise.all(tokens.map((each, n) => pair.put(n % 2 === 0 ? subject.one : subject.other, each, { lease: pair.lease(each) })))
    assert.equal(stored.filter(Boolean).length, 1)
    assert.equal(await pair.get(), tokens[stored.indexOf(true)])
  })
  check('a commit for what is stored elsewhere goes by the same rule', async ({ one, other, scope, key }) => {
    const [first, second] = [token(), token()]
    await one.enter(scope, key, first, {})
    await other.enter(scope, key, second, {})
    assert.equal(await one.commit(scope, key, first, message(), {}), true)
    assert.equal(await other.commit(scope, key, second, message(), {}), false)
  })
  check('emptying lines under a prefix leaves all others', async ({ one, scope }) => {
    const inside = ['docs/a', 'docs/b', 'docs*', 'docs{'].map((name) => validateKey(name))
    const outside = ['doc', 'Docs/a', 'a/docs', '*', 'dXcs'].map((name) => validateKey(name))
    for (const key of [...inside, ...outside]) await one.enter(scope, key, `under-${key}`, {})
    const elsewhere = new TenantScope(validateTenant('acme2'))
    await one.enter(elsewhere, inside[0] as ValidKey, 'under-elsewhere', {})
    await one.emptyUnder(scope, 'docs', {})
    for (const key of inside) assert.equal((await one.look(scope, key, `under-${key}`, {})).isListed, false, key)
    for (const key of outside) assert.equal((await one.look(scope, key, `under-${key}`, {})).isListed, true, key)
    assert.equal((await one.look(elsewhere, inside[0] as ValidKey, 'under-elsewhere', {})).isListed, true)
  })
}

function announcementChecks(check: PairCheck): void {
  check('a put and a delete tell of themselves in the log', async (pair) => {
    const { subject, scope, key } = pair
    assert.equal(await pair.put(subject.one, 'v', { announces: message('put') }), true)
    assert.equal(await pair.get(), 'v')
    assert.equal(await subject.one.delete(scope, [key], { announces: message('deleted') }), 1)
    assert.equal(await subject.one.delete(scope, [key], { announces: message('deleted again') }), 0)
    assert.equal(await pair.get(), undefined)
    assert.deepEqual(await pair.texts(), ['put', 'deleted', 'deleted again'])
  })
  check('an announcement changes no entry', async (pair) => {
    await pair.put(pair.subject.one, 'v')
    await pair.one.announce(pair.scope, pair.key, message('told'), {})
    assert.equal(await pair.get(), 'v')
    assert.deepEqual(await pair.texts(), ['told'])
  })
  check('without coordination in a call, nothing is told', async (pair) => {
    await pair.put(pair.subject.one, 'v')
    await pair.subject.one.delete(pair.scope, [pair.key], {})
    assert.deepEqual(await pair.log(), [])
    assert.deepEqual(await pair.keys(), [])
  })
  check('lines and the log are no entries', async (pair) => {
    const { one, subject, scope, key } = pair
    await one.enter(scope, key, token(), {})
    await one.append(message(), {})
    await pair.put(subject.one, 'v', {}, validateKey('other'))
    assert.deepEqual(await pair.keys(), ['other'])
    await subject.other.clear(scope, '', {})
    assert.equal((await pair.log()).length, 1)
  })
}

function logChecks(check: PairCheck): void {
  check('is read in order, from any position, each message naming the one before', async (pair) => {
    const { one, other } = pair
    assert.equal(await one.end({}), undefined)
    const sent = Array.from({ length: 30 }, (_, n) => message(`${n} \u{1F30A} "'`))
    const positions: string[] = []
    for (const [n, each] of sent.entries()) positions.push(await (n % 2 === 0 ? one : other).append(each, {}))
    const log = await pair.log()
    assert.deepEqual(log.map(({ id, text, position, previous }) => ({ id, text, position, previous })), sent.map((each, n) => ({ ...each, position: positions[n], previous: sent[n - 1]?.id ?? '' })))
    assert.deepEqual(new Set(log.map((each) => each.log)).size, 1)
    assert.deepEqual(await pair.log(positions[9]), log.slice(10))
    assert.deepEqual(await one.end({}), log.at(-1))
    for (let n = 1; n < positions.length; n++) {
      assert.equal(one.isBefore(positions[n - 1] as string, positions[n] as string), true)
      assert.equal(one.isBefore(positions[n] as string, positions[n - 1] as string), false)
      assert.equal(one.isBefore(positions[n] as string, positions[n] as string), false)
    }
    assert.equal(one.isBefore(one.beginning, positions[0] as string), true)
  })
  check('messages appended at once form one chain', async (pair) => {
    await Promise.all(Array.from({ length: 200 }, (_, n) => (n % 2 === 0 ? pair.one : pair.other).append(message(), {})))
    const log: LoggedMessage[] = []
    for (let page = await pair.log(); page.length > 0; page = await pair.log(log.at(-1)?.position)) log.push(...page)
    assert.equal(log.length, 200)
    for (let n = 1; n < log.length; n++) assert.equal(log[n]?.previous, log[n - 1]?.id)
  })
  check('a reader who waits is told at once, and is given back its turn when nothing is said', async (pair) => {
    const began = systemClock.monotonic()
    assert.deepEqual(await pair.other.read(pair.other.beginning, 100, {}), [])
    assert.ok(systemClock.monotonic() - began < 2000)
    const waiting = pair.other.read(pair.other.beginning, 900, {})
    await pair.one.append(message('now'), {})
    assert.deepEqual((await waiting).map(({ text }) => text), ['now'])
  })
  check('that was trimmed shows it to who reads on, and goes on being one log', async (pair) => {
    for (let n = 0; n < 5; n++) await pair.one.append(message(`${n}`), {})
    const before = await pair.log()
    await pair.subject.trim(2)
    const after = await pair.log(before[0]?.position)
    assert.notEqual(after[0]?.previous, before[0]?.id)
    await pair.one.append(message('next'), {})
    const log = await pair.log()
    assert.equal(log.at(-1)?.log, before[0]?.log)
    assert.equal(log.at(-1)?.previous, before.at(-1)?.id)
  })
  check('that was lost begins as another log', async (pair) => {
    await pair.one.append(message('before'), {})
    const [before] = await pair.log()
    await pair.subject.forget()
    await pair.one.append(message('after'), {})
    const [after] = await pair.log()
    assert.equal(after?.previous, '')
    assert.notEqual(after?.log, before?.log)
  })
}
