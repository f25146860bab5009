import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { TieredCacheManager, type CacheEvents, type TenantCache, type TieredCacheManagerOptions, type TierOptions } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'

/** The tiers every promise is shown on. */
export const STACKS = ['memory', 'fs', 'memory and fs'] as const
export type Stack = (typeof STACKS)[number]

export interface RigOptions extends Partial<Omit<TieredCacheManagerOptions, 'clock'>> {
  readonly tier?: Readonly<Record<string, Partial<TierOptions>>>
}

/** A manager over real backends, with a fake clock and faults to order in each tier. */
export class Rig {
  readonly clock = new FakeClock(Date.now())
  readonly faults: Record<string, Faults> = {}
  readonly events: { [name in keyof CacheEvents]?: CacheEvents[name][] } = {}
  readonly backends: Record<string, CacheBackend> = {}
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly basePath: string

  constructor(stack: Stack, basePath: string, options: RigOptions = {}) {
    this.basePath = basePath
    if (stack !== 'fs') this.backends.hot = new MemoryBackend()
    if (stack !== 'memory') this.backends.warm = new FileSystemBackend({ basePath })
    const tiers: Record<string, TierOptions> = {}
    for (const [name, backend] of Object.entries(this.backends)) {
      const faults = new Faults()
      this.faults[name] = faults
      // memory stays synchronous unless a test asks for faults in it
      const layers = options.tier?.[name]?.layers ?? (name === 'hot' ? [] : [faults.layer])
      tiers[name] = { backend, ...options.tier?.[name], layers }
    }
    const { tier: _tier, ...managerOptions } = options
    this.cache = new TieredCacheManager({ logger: false, coordination: false, ...managerOptions, tiers, clock: this.clock }) // one process
    for (const name of ['hit', 'miss', 'compute', 'promote', 'evict', 'error', 'degraded', 'recovered'] as const) {
      if (name !== 'hit') this.cache.on(name, (event) => (this.events[name] ??= [] as never).push(event as never))
    }
    this.acme = this.cache.tenant('acme')
  }

  faultsOf(tier: string): Faults {
    const faults = this.faults[tier]
    if (faults === undefined) throw new Error(`no tier ${tier}`)
    return faults
  }

  seen<N extends keyof CacheEvents>(name: N): CacheEvents[N][] {
    return this.events[name] ?? []
  }

  /** Runs fake time until the work is done. */
  async pass<T>(work: Promise<T>, stepMs = 50): Promise<T> {
    let done = false
    const watched = work.finally(() => (done = true))
    watched.catch(() => undefined)
    await this.clock.settle()
    while (!done) await this.clock.advance(stepMs)
    return watched
  }

  /** Lets fake time pass, with real time for disks in between, until something holds. */
  async passUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
    await this.until(async () => {
      if (await condition()) return true
      await this.clock.advance(100)
      return false
    })
  }

  /** Waits in real time for something that does not depend on the clock, such as a background write to disk. */
  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 500; i++) {
      if (await condition()) return
      await new Promise((resolve) => setTimeout(resolve, 4))
    }
    throw new Error('it did not happen within two seconds')
  }
}

/** Runs a test body on a new rig and cleans up after it. */
export async function withRig(stack: Stack, options: RigOptions, body: (rig: Rig) => Promise<void>): Promise<void> {
  const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-'))
  const rig = new Rig(stack, basePath, options)
  try {
    await body(rig)
  } finally {
    for (const faults of Object.values(rig.faults)) {
      faults.heal()
      faults.release()
    }
    const closing = rig.cache.close()
    await rig.pass(closing)
    await rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) // late writes may still land
  }
}

/** A promise and the means to end it. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue
    reject = onError
  })
  return { promise, resolve, reject }
}
