import fc from 'fast-check'
import { CacheError } from '@thermocline/backend'
import type { GetOptions, GetOrComputeOptions, TenantCache, TieredCacheManager } from '@thermocline/core'
import type { FakeClock } from '../fake-clock.js'
import type { Fault, Faults } from '../faults.js'
import { KEYS, programs, TENANTS, type LeftOut, type Step, type TakesStale } from './program.js'
import { Reference, type Reading } from './reference.js'

/** A manager to check, with the faults of each of its tiers, fastest first. */
export interface ModelSubject {
  readonly cache: TieredCacheManager
  readonly clock: FakeClock
  readonly faults: readonly Faults[]
  /** Opens a manager on the same stores once the one before is closed; without it programs restart nothing. */
  readonly reopen?: (() => Promise<TieredCacheManager>) | undefined
  readonly cleanUp: () => Promise<void>
}

export interface ModelOptions {
  readonly create: () => Promise<ModelSubject>
  readonly tiers: number
  /** Whether programs contain faults. Without them every read is predicted exactly. */
  readonly faults: boolean
  /** Whether they end the process and begin anew; subjects can {@link ModelSubject.reopen | reopen} then. Default: no. */
  readonly restarts?: boolean | undefined
  readonly runs?: number | undefined
  readonly seed?: number | undefined
}

const FAULTS: Readonly<Record<(Step & { kind: 'fault' })['fault'], Fault>> = {
  hang: 'hang',
  'hang-after': 'hang-after',
  refuse: { fail: 'unavailable' },
  fail: { fail: 'failed' },
  'lose-answer': { failAfter: 'failed' },
}
const POLICY_TTL_MS = 3_600_000
/** Of sets, and of calls that take what is stale. */
const WINDOW_MS = 20_000
const SOFT_TIMEOUT_MS = 300
/** Shorter than some computes, longer than others. */
const HARD_TIMEOUT_MS = 300
const FAILURE = new Error('the compute fails')

const STALE: Readonly<Record<TakesStale, GetOrComputeOptions>> = {
  never: {},
  'at once': { staleWhileRevalidate: `${WINDOW_MS}ms` },
  'on error': { staleIfError: `${WINDOW_MS}ms`, softTimeout: `${SOFT_TIMEOUT_MS}ms` },
  'in time': { staleIfError: `${WINDOW_MS}ms`, hardTimeout: `${HARD_TIMEOUT_MS}ms` },
  'not even fresh': { refresh: true },
}

/**
 * Drives random programs of verbs, faults and clock jumps against a manager and judges every answer by {@link Reference}.
 * A program that breaks a promise is shrunk to a short one and printed with its seed.
 *
 * @throws Error with the shrunk program
 */
export async function checkModel(options: ModelOptions): Promise<void> {
  const property = fc.asyncProperty(programs({ tiers: options.tiers, faults: options.faults, restarts: options.restarts === true }), async (program) => {
    const subject = await options.create()
    try {
      await new Run(subject, Object.keys((await subject.cache.stats()).tiers), options.faults).execute(program)
    } finally {
      await subject.cleanUp()
    }
  })
  await fc.assert(property, { numRuns: options.runs ?? 100, ...(options.seed === undefined ? {} : { seed: options.seed }), endOnFailure: false })
}

class Run {
  readonly #subject: ModelSubject
  readonly #tiers: readonly string[]
  readonly #faulty: boolean
  readonly #reference = new Reference()
  readonly #pending = new Set<Promise<void>>()
  #cache: TieredCacheManager
  #begun = 0

  /** @param tiers their names, fastest first */
  constructor(subject: ModelSubject, tiers: readonly string[], faulty: boolean) {
    this.#subject = subject
    this.#tiers = tiers
    this.#faulty = faulty
    this.#cache = subject.cache
    this.#watch()
  }

  /** Without faults nothing may fail, not even unseen. */
  #watch(): void {
    if (!this.#faulty) this.#cache.on('error', ({ error, operation }) => operation !== 'refresh' && this.#reference.problems.push(`failed without a fault: ${error.message}`))
  }

  async execute(program: readonly Step[]): Promise<void> {
    for (const step of program) {
      await this.#step(step)
      this.#judge()
    }
    await this.#finish()
    this.#judge()
  }

  async #step(step: Step): Promise<void> {
    const { clock, faults } = this.#subject
    switch (step.kind) {
      case 'pass':
        return clock.advance(step.ms)
      case 'fault':
        return void faults[step.tier]?.inject(FAULTS[step.fault], ...step.operations)
      case 'heal':
        return void faults[step.tier]?.heal()
      case 'release':
        faults[step.tier]?.release()
        return clock.settle()
      case 'drop':
        faults[step.tier]?.drop()
        return clock.settle()
      case 'restart':
        return this.#restart()
      default: {
        this.#begun++
        const work = this.#verb(step).catch((error: unknown) => this.#objectTo(step, error))
        const tracked: Promise<void> = work.finally(() => this.#pending.delete(tracked))
        this.#pending.add(tracked)
        if (step.wait) await this.#pass(tracked)
      }
    }
  }

  async #verb(step: Exclude<Step, { kind: 'pass' | 'fault' | 'heal' | 'release' | 'drop' | 'restart' }>): Promise<void> {
    const { clock } = this.#subject
    const tenant = this.#cache.tenant(step.tenant)
    const reference = this.#reference
    if (step.kind === 'clear') {
      const resolved = reference.beginInvalidation((id) => id.startsWith(`${step.tenant}:${step.prefix}`))
      await tenant.clear(step.prefix)
      return resolved()
    }
    const id = `${step.tenant}:${step.key}`
    const isPartial = step.without !== 'none'
    const options = { tiers: this.#without(step.without) }
    switch (step.kind) {
      case 'set': {
        const { value, resolved } = reference.beginSet(id, step.ttl === null ? Number.POSITIVE_INFINITY : clock.now() + step.ttl * 1000, isPartial)
        await tenant.set(step.key, value, { ttl: step.ttl, staleIfError: `${WINDOW_MS}ms`, ...options })
        return resolved()
      }
      case 'setStream': {
        const { value, resolved } = reference.beginStreamedSet(id, step.ttl === null ? Number.POSITIVE_INFINITY : step.ttl * 1000, clock.now(), isPartial)
        await tenant.setStream(step.key, chunksOf(value), { ttl: step.ttl, staleIfError: `${WINDOW_MS}ms`, ...options })
        return resolved(clock.now())
      }
      case 'delete': {
        const resolved = reference.beginInvalidation((other) => other === id)
        await tenant.delete(step.key, options)
        return resolved()
      }
      case 'expire': {
        const expired = reference.beginExpire(id)
        await tenant.expire(step.key, { staleIfError: `${WINDOW_MS}ms`, ...options })
        return expired()
      }
      case 'getOrCompute':
      case 'getOrComputeStream': {
        const { takesStale } = step
        const reading = reference.beginRead(id, clock.now(), { joins: true, staleMs: takesStale === 'never' || takesStale === 'not even fresh' ? 0 : WINDOW_MS, makesAnew: takesStale === 'not even fresh' })
        const compute = (): Promise<number> => this.#compute(reading, step, isPartial)
        const making = step.kind === 'getOrCompute' ? tenant.getOrCompute(step.key, compute, { ...options, ...STALE[takesStale] }) : this.#streamed(tenant, step.key, compute, { ...options, ...STALE[takesStale] })
        // a compute that fails, or is given up, is as good as a miss
        const value = await making.catch((error: unknown) => {
          if (error !== FAILURE && !(error instanceof CacheError && error.code === 'compute-timeout')) throw error
        })
        reference.endRead(reading, plain(value), step.kind)
        return
      }
      default: {
        const reading = reference.beginRead(id, clock.now())
        // with no fault ever, and nothing else running from beginning to end, the answer is not only judged but known
        const alone = !this.#faulty && !isPartial && this.#pending.size === 0 ? this.#begun : undefined
        const known = reference.expected(id, clock.now())
        const value = step.kind === 'getStream' ? await this.#readAll(await tenant.getStream(step.key, options)) : plain(await read(tenant, step.kind, step.key, options))
        reference.endRead(reading, value, step.kind)
        if (alone === this.#begun && known !== undefined && value !== known.value) reference.problems.push(`${step.kind} of ${id} returned ${String(value)} instead of ${String(known.value)}`)
      }
    }
  }

  /** What hangs ends with the process. Faults stay: the stores know nothing of it. */
  async #restart(): Promise<void> {
    const { clock, faults, reopen } = this.#subject
    const end = async (work: Promise<unknown>): Promise<void> => {
      for (const fault of faults) fault.drop()
      await this.#pass(work.then(() => undefined))
    }
    await end(Promise.all(this.#pending))
    await end(this.#cache.close())
    for (const fault of faults) fault.drop()
    await clock.settle()
    if (reopen === undefined) throw new TypeError('a subject of programs with restarts must have reopen')
    this.#cache = await reopen()
    this.#watch()
    this.#reference.restarted()
  }

  /** The override of a call that does without some tiers. */
  #without(without: LeftOut): Record<string, false> {
    const left = without === 'none' ? [] : without === 'slowest' ? this.#tiers.slice(-1) : this.#tiers.slice(0, -1)
    return Object.fromEntries(left.map((tier) => [tier, false]))
  }

  async #streamed(tenant: TenantCache, key: string, compute: () => Promise<number>, options: GetOrComputeOptions): Promise<unknown> {
    return this.#readAll(await tenant.getOrComputeStream(key, async () => chunksOf(await compute()), options))
  }

  async #compute(starter: Reading, { computeMs, fails, takesStale }: Pick<Step & { kind: 'getOrCompute' }, 'computeMs' | 'fails' | 'takesStale'>, isPartial: boolean): Promise<number> {
    const { clock } = this.#subject
    const { value, ended, dropped } = this.#reference.beginCompute(starter, isPartial)
    const passed = (ms: number): Promise<void> => new Promise((resolve) => void clock.schedule(ms, resolve))
    if (takesStale === 'in time' && computeMs > HARD_TIMEOUT_MS) {
      await passed(HARD_TIMEOUT_MS)
      dropped()
      await passed(computeMs - HARD_TIMEOUT_MS)
    } else {
      if (computeMs > 0) await passed(computeMs)
      if (fails) dropped()
      else ended(clock.now() + POLICY_TTL_MS)
    }
    if (fails) throw FAILURE
    return value
  }

  /** A stream that is under way may break off where there are faults: as good as a miss. */
  async #readAll(stream: AsyncIterable<Uint8Array> | undefined): Promise<unknown> {
    if (stream === undefined) return undefined
    const chunks: Uint8Array[] = []
    try {
      for await (const chunk of stream) chunks.push(chunk)
    } catch (error) {
      if (!this.#faulty) throw error
      return undefined
    }
    return plain(Buffer.concat(chunks))
  }

  #objectTo(step: Step, error: unknown): void {
    const said = error instanceof CacheError ? `${error.code}: ${error.message}` : String(error)
    this.#reference.problems.push(`${step.kind} rejected with ${said}`)
  }

  /** Heals everything, lets what hangs land, and expects order: nothing owed, nothing in doubt, and every key judged again. */
  async #finish(): Promise<void> {
    const { clock, faults } = this.#subject
    const cache = this.#cache
    for (const fault of faults) {
      fault.heal()
      fault.release()
    }
    await this.#pass(Promise.all(this.#pending).then(() => undefined))
    for (let i = 0; i < 40 && (await this.#unsettled()); i++) {
      for (const fault of faults) fault.release()
      await clock.advance(5000)
    }
    if (await this.#unsettled()) this.#reference.problems.push(`not settled after 200 s: ${JSON.stringify((await cache.stats()).tiers)}`)
    await this.#pass(cache.flush().then(() => undefined))
    for (const tenant of TENANTS) {
      for (const key of KEYS) {
        const id = `${tenant}:${key}`
        const reading = this.#reference.beginRead(id, clock.now())
        const value = await cache.tenant(tenant).get(key)
        this.#reference.endRead(reading, plain(value), 'the last get')
        const fromSlowest = this.#reference.beginRead(id, clock.now())
        this.#reference.endRead(fromSlowest, plain(await cache.tenant(tenant).get(key, { tiers: this.#without('all but the slowest') })), 'the last get from the slowest tier')
      }
    }
  }

  async #unsettled(): Promise<boolean> {
    const { tiers } = await this.#cache.stats()
    return Object.values(tiers).some(({ pendingInvalidations, keysInDoubt, state }) => pendingInvalidations > 0 || keysInDoubt > 0 || state !== 'ok')
  }

  async #pass(work: Promise<void>): Promise<void> {
    const { clock } = this.#subject
    let done = false
    void work.then(() => (done = true))
    await clock.settle()
    for (let i = 0; !done; i++) {
      if (i > 2000) throw new Error('a verb did not end within 100 s of fake time')
      await clock.advance(50)
    }
  }

  #judge(): void {
    const { problems } = this.#reference
    if (problems.length > 0) throw new Error(problems.join('\n'))
  }
}

/** A value as a stream: more bytes than compression leaves alone, and in two chunks. */
function chunksOf(value: number): Uint8Array[] {
  return [Buffer.from(String(value)), Buffer.alloc(3000, ' ')]
}

/** What was streamed comes back as bytes. */
function plain(value: unknown): unknown {
  return Buffer.isBuffer(value) ? Number(value.toString()) : value
}

/** What the verb shows of the key. `has` shows no value: the same lookup tells which one it spoke of. */
async function read(tenant: TenantCache, verb: 'get' | 'lookup' | 'has' | 'getMany', key: string, options: GetOptions): Promise<unknown> {
  if (verb === 'get') return tenant.get(key, options)
  if (verb === 'getMany') return (await tenant.getMany([key], options)).get(key)
  if (verb === 'has' && !(await tenant.has(key, options))) return undefined
  const found = await tenant.lookup(key, options)
  return found.status === 'miss' ? undefined : found.value
}
