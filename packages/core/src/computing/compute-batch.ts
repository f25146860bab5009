import { kindOf, type Ttl } from '@thermocline/backend'
import { onAbort } from '../flights/abort.js'
import { ComputeWishes, type ComputeContext } from '../flights/compute-context.js'
import { beginWaiting, callingFlight, Computing, Waiter } from '../flights/waiting.js'

/** What a function that makes several values receives besides their keys. */
export interface ComputeManyContext {
  readonly tenant: string
  /** Fires when nobody waits for any of the keys any more, or the cache closes past its deadline. */
  readonly signal: AbortSignal
  /** Sets the time to live of all results, over call and policy; `0`: do not store. */
  readonly setTtl: (ttl: Ttl) => void
  /** Adds tags to all results. */
  readonly addTags: (...tags: string[]) => void
  /** The results are handed to the callers and not stored. */
  readonly doNotCache: () => void
  /** The same for one of the keys. @throws TypeError for another key */
  readonly of: (key: string) => ComputeContext
}

/** A function that makes the values of several keys, by key. What its Map leaves out is not cached. */
export type ComputeMany<T> = (missing: string[], context: ComputeManyContext) => ReadonlyMap<string, T> | Promise<ReadonlyMap<string, T>>

/** A key that the function's Map has left out: there is no value, and no error either. */
export class LeftOut extends Error {
  constructor(key: string) {
    super(`the Map that compute returned has no value for ${JSON.stringify(key)}`)
  }
}

/** A key whose flight wants its value. */
interface Load {
  readonly asked: ComputeWishes
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  /** Its flight does not wait any longer. */
  readonly left: () => void
}

/**
 * One call of a caller's function for all keys that are to be made in one turn of the event loop. Each key has a flight of its own, as everywhere, so
 * that it is shared, stored, refreshed and remembered by itself; only the function is called together.
 */
export class ComputeBatch {
  readonly #compute: ComputeMany<unknown>
  readonly #unexpected: (key: string) => void
  #loads: Load[] = []
  #waiter: Waiter | undefined

  /** @param unexpected told of a key that was returned and not asked for, which is not stored */
  constructor(compute: ComputeMany<unknown>, unexpected: (key: string) => void) {
    this.#compute = compute
    this.#unexpected = unexpected
  }

  /** How one of the keys is made. @throws LeftOut */
  readonly load = async (context: ComputeContext): Promise<unknown> => {
    if (!(context instanceof ComputeWishes)) throw new TypeError('a batch is only for computes of flights')
    const asked = context
    if (this.#waiter === undefined) {
      this.#waiter = new Waiter(asked.key, asked.tenant)
      setImmediate(() => this.#fire())
    }
    const left = beginWaiting(callingFlight(), this.#waiter, 'getOrComputeMany')
    return new Promise((resolve, reject) => this.#loads.push({ asked, resolve, reject, left }))
  }

  #fire(): void {
    const waiter = this.#waiter as Waiter
    const loads = this.#loads.filter((load) => !leftAlone(load))
    this.#loads = []
    this.#waiter = undefined
    if (loads.length === 0) return
    for (const { asked } of loads) asked.sharedBy = loads.length
    void this.#run(loads, new Computing(waiter))
  }

  async #run(loads: readonly Load[], part: Computing): Promise<void> {
    const keys = loads.map(({ asked }) => asked.key)
    let made: ReadonlyMap<string, unknown>
    try {
      made = checked(await part.run(() => this.#compute([...keys], new ManyWishes(loads))))
    } catch (error) {
      for (const { reject } of loads) reject(error)
      return
    } finally {
      part.end()
      for (const { left } of loads) left()
    }
    for (const { asked: { key }, resolve, reject } of loads) {
      if (made.has(key)) resolve(made.get(key))
      else reject(new LeftOut(key))
    }
    const wanted = new Set(keys)
    for (const key of made.keys()) if (!wanted.has(key)) this.#unexpected(key)
  }
}

/** A key that nobody waits for any more is not made. */
function leftAlone({ asked, reject, left }: Load): boolean {
  if (!asked.isAbandoned) return false
  left()
  reject(asked.signal.reason)
  return true
}

/** @throws TypeError unless it is a Map */
export function checked(made: unknown): ReadonlyMap<string, unknown> {
  if (made instanceof Map) return made
  throw new TypeError(`getOrComputeMany(keys, compute): compute must return a Map of values by key, not ${kindOf(made)}`)
}

/** What the function asks for, of all keys or of one. */
export class ManyWishes implements ComputeManyContext {
  readonly tenant: string
  readonly #wishes: readonly ComputeWishes[]
  #signal: AbortSignal | undefined

  constructor(loads: readonly { readonly asked: ComputeWishes }[]) {
    this.#wishes = loads.map(({ asked }) => asked)
    this.tenant = this.#wishes[0]?.tenant ?? ''
  }

  get signal(): AbortSignal {
    return (this.#signal ??= whenAllHave(this.#wishes.map(({ signal }) => signal)))
  }

  get setTtl(): (ttl: Ttl) => void {
    return (ttl) => {
      for (const one of this.#wishes) one.setTtl(ttl)
    }
  }

  get addTags(): (...tags: string[]) => void {
    return (...tags) => {
      for (const one of this.#wishes) one.addTags(...tags)
    }
  }

  get doNotCache(): () => void {
    return () => {
      for (const one of this.#wishes) one.doNotCache()
    }
  }

  get of(): (key: string) => ComputeContext {
    return (key) => {
      const own = this.#wishes.find((one) => one.key === key)
      if (own !== undefined) return own
      throw new TypeError(`ctx.of(key) takes one of the keys that are missing, not ${kindOf(key)}`)
    }
  }
}

/** Fires when all of them have. */
function whenAllHave(signals: readonly AbortSignal[]): AbortSignal {
  const all = new AbortController()
  let left = signals.length
  const one = (signal: AbortSignal): void => {
    if (--left === 0) all.abort(signal.reason)
  }
  for (const signal of signals) {
    if (signal.aborted) one(signal)
    else onAbort(signal, () => one(signal))
  }
  return all.signal
}
