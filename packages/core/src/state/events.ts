import { isPromise, type CacheError, type EvictionReason } from '@thermocline/backend'
import { outsideComputes } from '../flights/waiting.js'

/** Whom and what an event is about. */
export interface KeyEvent {
  readonly tenant: string
  readonly key: string
}

/** What `cache.on` can be told of. */
export interface CacheEvents {
  /** A verb found the key fresh in a tier. */
  hit: KeyEvent & { readonly tier: string; readonly policy: string }
  /** A verb found the key in no tier. */
  miss: KeyEvent & { readonly policy: string }
  /** A caller got a value that is not fresh any more: while it is refreshed, because the compute failed, or because it took longer than `softTimeout`. */
  stale: KeyEvent & { readonly tier: string; readonly policy: string; readonly reason: StaleReason }
  /** A refresh in the background has ended, with a new value or, where there is an `error`, without. */
  refresh: KeyEvent & { readonly policy: string; readonly error?: unknown }
  /** A value was computed; `ms` is how long it took. */
  compute: KeyEvent & { readonly policy: string; readonly ms: number }
  /** A hit in a slower tier was copied to a faster one. */
  promote: KeyEvent & { readonly from: string; readonly to: string; readonly policy: string }
  set: KeyEvent & { readonly policy: string }
  delete: KeyEvent
  clear: { readonly tenant: string; readonly prefix: string }
  /** An entry that a set had queued was written to its tier. */
  writeBack: KeyEvent & { readonly tier: string }
  /** An entry that a tier had no space for went to the tier below. */
  demote: KeyEvent & { readonly from: string; readonly to: string }
  /** A backend removed an entry by itself. */
  evict: KeyEvent & { readonly tier: string; readonly reason: EvictionReason }
  /** Another process has changed or removed the key, or everything under the prefix: what this one had of it is gone. */
  invalidated: { readonly tenant: string; readonly key?: string | undefined; readonly prefix?: string | undefined }
  /** What other processes invalidate is not heard any more: what this one keeps itself is believed for `maxStaleness` after it was taken in. */
  blind: { readonly tier: string; readonly reason?: string | undefined }
  /** Other processes are heard, for the first time or again. */
  connected: { readonly tier: string }
  /** A failure that no caller was told of. `tier` is absent when no tier was involved. */
  error: { readonly error: CacheError; readonly operation: string; readonly tier?: string | undefined; readonly tenant?: string | undefined; readonly key?: string | undefined }
  /** A tier's circuit breaker opened. `write`: the tier takes no writes and is still read. `read`: it is not read, and not written either unless only reads failed. */
  degraded: { readonly tier: string; readonly circuit: 'read' | 'write'; readonly error: CacheError | undefined }
  /** A degraded tier is back in use. */
  recovered: { readonly tier: string }
}

/** Why a stale value was served. */
export type StaleReason = 'revalidate' | 'error' | 'timeout'

export type CacheEventName = keyof CacheEvents

const EVENT_NAMES: ReadonlySet<string> = new Set<CacheEventName>(['hit', 'miss', 'stale', 'compute', 'refresh', 'promote', 'set', 'delete', 'clear', 'writeBack', 'demote', 'evict', 'invalidated', 'blind', 'connected', 'error', 'degraded', 'recovered'])

/** Listeners of all events in one table: each is only ever called with its own event. */
type Listener = (event: unknown) => unknown

export interface EventsHost {
  onThrow(error: unknown, event: CacheEventName): void
  /** A listener was added or removed. */
  onChange(): void
}

/** Listeners by event. A listener that throws is reported, never the cache's caller's problem. */
export class Events {
  readonly #listeners = new Map<CacheEventName, readonly Listener[]>()
  readonly #host: EventsHost

  constructor(host: EventsHost) {
    this.#host = host
  }

  on<N extends CacheEventName>(name: N, listener: (event: CacheEvents[N]) => void): () => void {
    if (!EVENT_NAMES.has(name)) throw new TypeError(`there is no event ${JSON.stringify(name)}; the events are ${[...EVENT_NAMES].join(', ')}`)
    if (typeof listener !== 'function') throw new TypeError(`the listener for ${JSON.stringify(name)} must be a function`)
    const own = listener as Listener
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), own])
    this.#host.onChange()
    let subscribed = true
    return () => {
      if (!subscribed) return
      subscribed = false
      const others = [...(this.#listeners.get(name) ?? [])]
      others.splice(others.indexOf(own), 1)
      if (others.length > 0) this.#listeners.set(name, others)
      else this.#listeners.delete(name)
      this.#host.onChange()
    }
  }

  /** Whether anybody listens: asked before an event object is made. */
  wants(name: CacheEventName): boolean {
    return this.#listeners.has(name)
  }

  emit<N extends CacheEventName>(name: N, event: CacheEvents[N]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const returned: unknown = outsideComputes(() => listener(event))
        if (isPromise(returned)) returned.then(undefined, (error: unknown) => this.#host.onThrow(error, name))
      } catch (error) {
        this.#host.onThrow(error, name)
      }
    }
  }
}
