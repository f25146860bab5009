import { TieredCacheManager, type CacheEvents, type TenantCache, type TierOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { until } from '../../../../test/support/servers/until.js'
import { OwnDelays } from '../../../../test/support/own-delays.js'
import { afterwards, temporaryDirectory } from '../../../../test/support/afterwards.js'

export type Stack = 'memory and redis' | 'redis' | 'redis and fs'

/** What is stored: it says whose it is, and when it was made. */
interface Stamped {
  readonly key: string
  readonly version: number
}

const KEYS = 40
const WORKERS = 6
const PAUSE_MS = 4
/** What a healthy call may take on a busy machine before it counts as held up. */
const NOISE_MS = 25

let prefixes = 0

/** A part of a server that no other test uses. */
export function freshPrefix(): string {
  return `tc:${process.pid}-${++prefixes}:`
}

/**
 * A manager on the real clock, and callers that check what they are served: after a set or delete has resolved, nothing older
 * may be read.
 */
export class Stage {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly degraded: CacheEvents['degraded'][] = []
  readonly errors: CacheEvents['error'][] = []
  /** Everything that ought not to have happened. */
  readonly problems: string[] = []
  /** How long each call took, in milliseconds. */
  readonly durations: number[] = []
  recovered = 0
  readonly keyPrefix: string
  readonly #delays = new OwnDelays()
  readonly #redis: RedisBackendOptions
  /** Options with which the server is asked first. */
  readonly #straight: { tiers?: Record<string, false> }
  readonly #floors = new Map<string, number>()
  #version = 0
  #working: Promise<unknown> = Promise.resolve()
  #stopped = true

  constructor(redis: RedisBackendOptions, stack: Stack = 'memory and redis', tier: Partial<TierOptions> = {}, coordination: 'auto' | false = 'auto') {
    this.#redis = { keyPrefix: freshPrefix(), ...redis }
    this.keyPrefix = this.#redis.keyPrefix as string
    this.#straight = stack === 'memory and redis' ? { tiers: { memory: false } } : {}
    const tiers: Record<string, TierOptions> = {}
    if (stack === 'memory and redis') tiers.memory = { backend: new MemoryBackend() }
    tiers.redis = { backend: new RedisBackend(this.#redis), ...tier }
    if (stack === 'redis and fs') tiers.fs = { backend: new FileSystemBackend({ basePath: temporaryDirectory() }) }
    this.cache = new TieredCacheManager({ coordination, tiers, logger: false })
    this.acme = this.cache.tenant('acme')
    this.cache.on('degraded', (event) => this.degraded.push(event))
    this.cache.on('recovered', () => this.recovered++)
    this.cache.on('error', (event) => this.errors.push(event))
    afterwards(async () => {
      await this.stop()
      await this.cache.close()
    })
  }

  /** Callers at once, until `stop`. */
  work({ workers = WORKERS, clears = true } = {}): void {
    this.#stopped = false
    this.#working = Promise.all(Array.from({ length: workers }, () => this.#worker(clears)))
  }

  /** Resolves when the last caller has its answer. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#working
  }

  async read(key: string, isPast = false): Promise<void> {
    const floor = this.#floors.get(key) ?? 0
    const options = Math.random() < 0.5 ? this.#straight : {}
    const value = isPast ? await this.acme.get<Stamped>(key, options) : await this.acme.getOrCompute<Stamped>(key, () => this.#make(key), options)
    this.#judge(key, value, floor, 'a caller')
  }

  async readMany(keys: readonly string[]): Promise<void> {
    const floors = keys.map((key) => this.#floors.get(key) ?? 0)
    const values = await this.acme.getMany<Stamped>(keys, this.#straight)
    keys.forEach((key, at) => this.#judge(key, values.get(key), floors[at] as number, 'a caller of many'))
  }

  async set(key: string): Promise<void> {
    const value = this.#make(key)
    await this.acme.set(key, value)
    this.#raise(key, value.version)
  }

  async delete(key: string): Promise<void> {
    const version = ++this.#version
    await this.acme.delete(key)
    this.#raise(key, version)
  }

  async clear(): Promise<void> {
    const version = ++this.#version
    await this.acme.clear('key/1')
    for (const key of this.#keys) if (key.startsWith('key/1')) this.#raise(key, version)
  }

  /** Runs a call, and keeps how long it took, without what held this process up, and whether it rejected. */
  async timed(call: () => Promise<unknown>): Promise<number> {
    const took = await this.#delays.timed(() => call().catch((error: unknown) => this.problems.push(`rejected: ${String(error)}`)))
    this.durations.push(took)
    return took
  }

  /** One caller after the other; returns how long calls were held up. */
  async inSequence(whileTrue: () => boolean): Promise<{ first: number; total: number; calls: number }> {
    let first: number | undefined
    let total = 0
    let calls = 0
    const verbs = [(key: string) => this.read(key), (key: string) => this.set(key), (key: string) => this.read(key, true), (key: string) => this.delete(key)]
    for (; whileTrue(); calls++) {
      const took = await this.timed(() => verbs[calls % verbs.length]!(`sequence/${calls % 12}`))
      first ??= took
      if (took > NOISE_MS) total += took
      await pause(PAUSE_MS)
    }
    return { first: first ?? 0, total, calls }
  }

  /** The longest call so far. */
  get longest(): number {
    return Math.max(0, ...this.durations)
  }

  /** A write reaches the server, and a read is a hit there. */
  async inUse(): Promise<boolean> {
    await this.acme.set('in use', 1)
    const found = await this.acme.lookup('in use', this.#straight)
    return found.status === 'fresh' && found.tier === 'redis'
  }

  /** Waits until nothing is owed or in doubt, then looks at what the server itself would serve. */
  async expectNothingOld(redis: RedisBackendOptions = this.#redis): Promise<void> {
    await until(
      'all debts are paid',
      async () => {
        const { redis: tier } = (await this.cache.stats()).tiers
        return tier?.pendingInvalidations === 0 && tier.keysInDoubt === 0
      },
      { withinMs: 8000 },
    )
    const other = new TieredCacheManager({ tiers: { redis: { backend: new RedisBackend({ ...this.#redis, ...redis }), budget: '5s' } }, logger: false })
    try {
      for (const key of this.#floors.keys()) this.#judge(key, await other.tenant('acme').get<Stamped>(key), this.#floors.get(key) ?? 0, 'the server')
    } finally {
      await other.close()
    }
  }

  get #keys(): string[] {
    return Array.from({ length: KEYS }, (_, i) => `key/${i}`)
  }

  async #worker(clears: boolean): Promise<void> {
    while (!this.#stopped) {
      const key = `key/${Math.floor(Math.random() * KEYS)}`
      const dice = Math.random()
      await this.timed(() => {
        if (dice < 0.55) return this.read(key)
        if (dice < 0.6) return this.readMany(this.#keys.slice(0, 20))
        if (dice < 0.7) return this.read(key, true)
        if (dice < 0.88) return this.set(key)
        if (dice < 0.99 || !clears) return this.delete(key)
        return this.clear()
      })
      await pause(PAUSE_MS)
    }
  }

  #make(key: string): Stamped {
    return { key, version: ++this.#version }
  }

  #raise(key: string, version: number): void {
    this.#floors.set(key, Math.max(version, this.#floors.get(key) ?? 0))
  }

  #judge(key: string, value: Stamped | undefined, floor: number, who: string): void {
    if (value === undefined) return
    if (value.key !== key) this.problems.push(`${who} got ${JSON.stringify(value)} for ${key}`)
    else if (value.version < floor) this.problems.push(`${who} got version ${value.version} of ${key} after ${floor} was done`)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
