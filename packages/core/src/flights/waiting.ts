import { AsyncLocalStorage } from 'node:async_hooks'
import { CacheError } from '@thermocline/backend'

/*
 * Who waits for whom. A compute that asks for its own key waits for itself, and two that ask for each other's key wait for each other: for
 * ever, with all their callers. So each flight knows which flights its compute waits for, and a caller inside a compute joins no flight that
 * already waits, perhaps over others, for the caller's own.
 *
 * Which compute a caller is in, an AsyncLocalStorage says. On Node 20 and 22 one that is in use makes every await of the process two to three
 * times as dear, so it is switched off whenever no compute runs: a hit pays nothing for it then (docs/decisions, with what was measured).
 *
 * A call counts as waited for until its promise has settled; whether the compute really awaits it cannot be seen. So a compute that starts
 * something without awaiting it, which then asks for what that compute makes, is told of a circle, too.
 */

/** What callers wait for, and what may wait for others itself: a flight. */
export class Waiter {
  readonly key: string
  readonly tenant: string
  /** The flights that its compute waits for now, each as often as it does. */
  waitsFor: Map<Waiter, number> | undefined = undefined

  constructor(key: string, tenant: string) {
    this.key = key
    this.tenant = tenant
  }
}

const storage = new AsyncLocalStorage<Computing | undefined>()
let running = 0

/** A flight's compute while it runs. What is called by it knows whose it is; what still runs of it after its end is nobody's. */
export class Computing {
  #flight: Waiter | undefined

  constructor(flight: Waiter) {
    this.#flight = flight
    running++
  }

  get flight(): Waiter | undefined {
    return this.#flight
  }

  run<T>(work: () => T): T {
    return this.#flight === undefined ? work() : storage.run(this, work)
  }

  /** The chunks of a stream that it makes: a generator's body runs when it is read, whoever reads. */
  chunks(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = this.run(() => source[Symbol.asyncIterator]())
        return {
          next: () => this.run(() => iterator.next()),
          return: () => this.run(() => iterator.return?.() ?? Promise.resolve({ done: true, value: undefined })),
        }
      },
    }
  }

  end(): void {
    if (this.#flight === undefined) return
    this.#flight.waitsFor = undefined
    this.#flight = undefined
    if (--running === 0) storage.disable()
  }
}

/** Runs a flight's compute. */
export async function computing<T>(flight: Waiter, compute: () => T | Promise<T>): Promise<T> {
  const part = new Computing(flight)
  try {
    return await part.run(compute)
  } finally {
    part.end()
  }
}

/** The flight whose running compute the caller is a part of. */
export function callingFlight(): Waiter | undefined {
  return running === 0 ? undefined : storage.getStore()?.flight
}

/** Runs what is no part of the compute that happens to call it, such as a listener. */
export function outsideComputes<T>(work: () => T): T {
  return callingFlight() === undefined ? work() : storage.run(undefined, work)
}

const NOTHING = (): void => undefined

/**
 * Notes that the caller's flight waits for another; returns what ends it.
 *
 * @param caller `undefined`: no flight, of which nothing has to be known
 * @throws CacheError `circular` when the other one waits for the caller's already
 */
export function beginWaiting(caller: Waiter | undefined, flight: Waiter, operation: string): () => void {
  if (caller === undefined) return NOTHING
  const path = pathBetween(flight, caller)
  if (path !== undefined) throw circular([...path, flight], operation)
  const waits = (caller.waitsFor ??= new Map<Waiter, number>())
  waits.set(flight, (waits.get(flight) ?? 0) + 1)
  let isOver = false
  return () => {
    if (isOver) return
    isOver = true
    const left = (waits.get(flight) ?? 0) - 1
    if (left > 0) waits.set(flight, left)
    else waits.delete(flight)
  }
}

/** From a flight over what it waits for to another, both included; `undefined`: it does not wait for that. */
function pathBetween(from: Waiter, to: Waiter): Waiter[] | undefined {
  const cameFrom = new Map<Waiter, Waiter | undefined>([[from, undefined]])
  for (const at of cameFrom.keys()) {
    if (at === to) {
      const path: Waiter[] = []
      for (let step: Waiter | undefined = at; step !== undefined; step = cameFrom.get(step)) path.unshift(step)
      return path
    }
    for (const next of at.waitsFor?.keys() ?? []) if (!cameFrom.has(next)) cameFrom.set(next, at)
  }
  return undefined
}

const MOST_SHOWN = 12
const MOST_CHARACTERS = 100

function circular(path: readonly Waiter[], operation: string): CacheError {
  const [first] = path as readonly [Waiter]
  const manyTenants = path.some(({ tenant }) => tenant !== first.tenant)
  const names = path.map(({ key, tenant }) => (manyTenants ? `${shortened(key)} of ${shortened(tenant)}` : shortened(key)))
  // a key's value and its stream wait for each other as two flights
  const steps = names.filter((name, at) => at === 0 || at === names.length - 1 || name !== names[at - 1])
  if (steps.length > 2 && steps.at(-1) === steps.at(-2)) steps.pop()
  const shown = steps.length <= MOST_SHOWN ? steps : [...steps.slice(0, MOST_SHOWN / 2), '...', ...steps.slice(-MOST_SHOWN / 2)]
  const what = `${operation} inside a compute asked for a key that is being computed from what this compute makes, and would wait for ever: ${shown.join(' → ')}`
  return new CacheError('circular', what, { operation, tenant: first.tenant, key: first.key })
}

function shortened(name: string): string {
  return name.length <= MOST_CHARACTERS ? name : `${name.slice(0, MOST_CHARACTERS)}...`
}
