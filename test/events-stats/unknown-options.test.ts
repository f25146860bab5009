import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type ByteSource, type TenantCache, type TieredCacheManagerOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { afterwards } from '../support/afterwards.js'

type Call = (cache: TenantCache, options: never) => unknown
type ManagerCall = (cache: TieredCacheManager, options: never) => unknown

function made(enabled = true): { cache: TieredCacheManager; acme: TenantCache } {
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, logger: false, enabled })
  afterwards(() => cache.close())
  return { cache, acme: cache.tenant('acme') }
}

/** A mistake throws from what is synchronous, and rejects elsewhere. */
async function messageOf(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError)
    return (error as TypeError).message
  }
  return 'nothing'
}

const SOURCE: ByteSource = [Buffer.from('x')]
const VERBS: readonly (readonly [string, Call, ManagerCall, wrong: string, near: string])[] = [
  ['getOrCompute', (c, o) => c.getOrCompute('k', () => 1, o), (c, o) => c.getOrCompute('k', () => 1, o), 'tll', 'ttl'],
  ['get', (c, o) => c.get('k', o), (c, o) => c.get('k', o), 'polcy', 'policy'],
  ['peek', (c, o) => c.peek('k', o), (c, o) => c.peek('k', o), 'teirs', 'tiers'],
  ['lookup', (c, o) => c.lookup('k', o), (c, o) => c.lookup('k', o), 'vale', 'value'],
  ['has', (c, o) => c.has('k', o), (c, o) => c.has('k', o), 'signl', 'signal'],
  ['set', (c, o) => c.set('k', 1, o), (c, o) => c.set('k', 1, o), 'tag', 'tags'],
  ['delete', (c, o) => c.delete('k', o), (c, o) => c.delete('k', o), 'confirm', 'confirmed'],
  ['clear', (c, o) => c.clear(undefined, o), (c, o) => c.clear(undefined, o), 'confirmd', 'confirmed'],
  ['getStream', (c, o) => c.getStream('k', o), (c, o) => c.getStream('k', o), 'tier', 'tiers'],
  ['setStream', (c, o) => c.setStream('k', SOURCE, o), (c, o) => c.setStream('k', SOURCE, o), 'metdata', 'metadata'],
  ['getOrComputeStream', (c, o) => c.getOrComputeStream('k', () => SOURCE, o), (c, o) => c.getOrComputeStream('k', () => SOURCE, o), 'TTL', 'ttl'],
  ['getMany', (c, o) => c.getMany([], o), (c, o) => c.getMany([], o), 'signals', 'signal'],
  ['setMany', (c, o) => c.setMany([], o), (c, o) => c.setMany([], o), 'meta_data', 'metadata'],
  ['deleteMany', (c, o) => c.deleteMany([], o), (c, o) => c.deleteMany([], o), 'policies', 'policy'],
  ['list', (c, o) => c.list('', o), (c, o) => c.list('', o), 'details', 'detail'],
]

describe.each(VERBS)('%s', (verb, call, managerCall, wrong, near) => {
  test.each([true, false])('refuses an option it does not know, and names it, itself and the near one; enabled: %s', async (enabled) => {
    const { cache, acme } = made(enabled)
    const message = `${verb}(`
    for (const said of [await messageOf(() => call(acme, { [wrong]: 1 } as never)), await messageOf(() => managerCall(cache, { tenant: 'acme', [wrong]: 1 } as never))]) {
      expect(said.startsWith(message)).toBe(true)
      expect(said).toContain(`the option ${wrong}`)
      // what is too far away for a guess lists them all
      expect(said).toContain(near)
    }
    expect(await messageOf(() => call(acme, { force: true } as never))).toContain('the option force')
  })

  test('knows no tenant on a tenant’s cache', async () => {
    expect(await messageOf(() => call(made().acme, { tenant: 'other' } as never))).toContain('the option tenant')
  })

  test('takes undefined for nothing, and refuses what are no options', async () => {
    const { cache, acme } = made()
    expect(await messageOf(() => call(acme, undefined as never))).toBe('nothing')
    expect(await messageOf(() => managerCall(cache, { tenant: 'acme', ...(verb === 'list' ? { signal: undefined } : verb === 'clear' ? { confirmed: undefined } : { policy: undefined }) } as never))).toBe('nothing')
    for (const wrongOptions of [null, 'a/', 7, [], () => ({})]) expect(await messageOf(() => call(acme, wrongOptions as never))).toContain('options must be an object')
    for (const wrongOptions of [null, 'acme', undefined, {}]) expect(await messageOf(() => managerCall(cache, wrongOptions as never))).toContain('needs { tenant }')
  })
})

test.each(['flush', 'close'] as const)('%s refuses an option it does not know', async (verb) => {
  const { cache } = made()
  expect(await messageOf(() => cache[verb]({ dedline: '1s' } as never))).toBe(`${verb}(options) does not know the option dedline; did you mean deadline?`)
  expect(await messageOf(() => cache[verb]({ force: true } as never))).toContain('it knows deadline, confirmed')
  expect(await messageOf(() => cache[verb]('5s' as never))).toContain('options must be an object')
  expect(await cache.has('k', { tenant: 'acme' })).toBe(false) // and nothing was closed
})

test('stats and on take no options: a tenant’s numbers are not what the manager would tell', async () => {
  const { cache, acme } = made()
  expect(await messageOf(() => cache.stats({ tenant: 'acme' } as never))).toContain('takes no options')
  expect(await messageOf(() => acme.stats({ tier: 'hot' } as never))).toContain('takes no options')
  expect(await messageOf(() => cache.on('hit', () => undefined, { once: true } as never))).toContain('takes no options')
})

test('a clear that is given a prefix in the wrong place clears nothing', async () => {
  const { cache, acme } = made()
  await acme.set('b/1', 1)
  expect(await messageOf(() => acme.clear(undefined, { prefix: 'a/' } as never))).toBe('clear(prefix, options) does not know the option prefix; it knows confirmed')
  expect(await messageOf(() => acme.clear({ prefix: 'a/' } as never))).toContain('prefix must be a string')
  expect(await messageOf(() => cache.clear(undefined, { tenant: 'acme', prefix: 'a/' } as never))).toContain('the option prefix')
  expect(await messageOf(() => acme.clear('a/', 'b/' as never))).toContain('options must be an object')
  expect(await acme.has('b/1')).toBe(true)
  expect(await cache.clear('b/', { tenant: 'acme', confirmed: false })).toBe(1)
})

test('what a call says of a tier is looked at, too', async () => {
  const { acme } = made()
  const tiers = { hot: { wirte: 'around' } } as never
  expect(await messageOf(() => acme.set('k', 1, { tiers }))).toBe('set(key, value, options): tiers.hot does not know the option wirte; did you mean write?')
  expect(await messageOf(() => acme.peek('k', { tiers }))).toContain('peek(key, options): tiers.hot')
  expect(await messageOf(() => acme.getMany(['k'], { tiers }))).toContain('getMany(keys, options): tiers.hot')
})

test('switches are true or false', async () => {
  const { acme } = made()
  expect(await messageOf(() => acme.lookup('k', { value: 'no' as never }))).toBe('value must be true or false, not the string "no"')
  expect(await messageOf(() => acme.list('', { detail: 1 as never }))).toBe('detail must be true or false, not the number 1')
  expect(await messageOf(() => acme.list('', { signal: new AbortController() as never }))).toContain('pass controller.signal')
})

test('options may be of a class, with what it inherits', async () => {
  const { cache, acme } = made()
  class Options {
    readonly tenant = 'acme'
    get ttl(): string {
      return '1m'
    }
  }
  await cache.set('k', 1, new Options())
  const found = await acme.lookup('k')
  expect(found.status === 'fresh' && found.expiresAt !== null && found.expiresAt - found.createdAt).toBe(60_000)
  expect(await acme.get('k', Object.create({ policy: 'default', helper: true }) as object)).toBe(1)
})

describe('the manager’s options', () => {
  const hot = { backend: new MemoryBackend() }
  const WRONG: readonly (readonly [string, unknown, string])[] = [
    ['its own', { tiers: { hot }, polices: {} }, 'new TieredCacheManager(options) does not know the option polices; did you mean policies?'],
    ['a tier’s', { tiers: { hot: { ...hot, maxTTl: 1 } } }, 'tiers.hot does not know the option maxTTl; did you mean maxTtl?'],
    ['a tier’s, of a policy', { tiers: { hot: { ...hot, ttl: 1 } } }, 'tiers.hot does not know the option ttl; it knows backend,'],
    ['a policy’s', { tiers: { hot }, policies: { docs: { compresion: 'gzip' } } }, 'policies.docs does not know the option compresion; did you mean compression?'],
    ['a policy’s, of a tier', { tiers: { hot }, policies: { docs: { tiers: { hot: { promot: false } } } } }, 'policies.docs.tiers.hot does not know the option promot; did you mean promote?'],
    ['a compression’s', { tiers: { hot }, policies: { docs: { compression: { algorithm: 'gzip', levl: 1 } } } }, 'policies.docs.compression does not know the option levl; did you mean level?'],
    ['a write-back’s', { tiers: { hot }, writeBack: { directoy: '/x' } }, 'writeBack does not know the option directoy; did you mean directory?'],
    ['a telemetry’s', { tiers: { hot }, telemetry: { span: 'all' } }, 'telemetry does not know the option span; did you mean spans?'],
    ['write-back that is none', { tiers: { hot }, writeBack: '/x' }, 'writeBack: options must be an object, not the string "/x"'],
    ['whether to add tenants', { tiers: { hot }, telemetry: { tenantAttribute: 'yes' } }, 'telemetry.tenantAttribute must be true or false, not the string "yes"'],
  ]
  test.each(WRONG)('%s', (_what, options, message) => {
    const make = (): TieredCacheManager => new TieredCacheManager(options as TieredCacheManagerOptions)
    expect(make).toThrow(TypeError)
    expect(make).toThrow(message)
  })
})

/** Never called: what the compiler refuses. */
export async function typed(cache: TieredCacheManager, acme: TenantCache): Promise<void> {
  // @ts-expect-error a misspelt option
  await acme.get('k', { polcy: 'x' })
  // @ts-expect-error the tenant is the cache's own
  await acme.get('k', { tenant: 'x' })
  // @ts-expect-error a prefix is positional
  await acme.clear(undefined, { prefix: 'a/' })
  // @ts-expect-error a verb on the manager needs a tenant
  await cache.clear('a/', {})
  // @ts-expect-error it is of all tenants
  await cache.stats({ tenant: 'acme' })
  // @ts-expect-error a peek does not wait
  acme.peek('k', { signal: new AbortController().signal })
  // @ts-expect-error a misspelt option of a tier
  await acme.set('k', 1, { tiers: { hot: { wirte: 'back' } } })
}
