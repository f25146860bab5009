import { kindOf, KnownNames } from '@thermocline/backend'
import { FRESHNESS_NAMES } from '../policies/freshness.js'
import type { ListVerbOptions } from '../reading/list.js'
import type {
  ClearVerbOptions,
  CloseOptions,
  DeleteOptions,
  ExpireOptions,
  ForTenant,
  GetOptions,
  GetOrComputeOptions,
  GetValueOptions,
  KeyOptions,
  LookupOptions,
  RefreshOptions,
  SetOptions,
  WindowOptions,
} from './options.js'
import { checkSignal } from './verb-options.js'

/** The names of all options of a kind: the compiler sees to it that none is left out. */
type Names<O> = Readonly<Record<keyof Required<O>, true>>

const SWITCHES = ['confirmed', 'detail', 'value', 'refresh'] as const

/** A verb and the options it takes, on a tenant's cache and, with `tenant`, on the manager. */
export class Verb<O extends object> {
  /** How it is called, for messages. */
  readonly call: string
  readonly #own: KnownNames
  readonly #onManager: KnownNames
  readonly #switches: readonly string[]

  constructor(call: string, names: Names<O>) {
    this.call = call
    this.#own = new KnownNames(Object.keys(names))
    this.#onManager = new KnownNames([...this.#own.names, 'tenant'])
    this.#switches = SWITCHES.filter((name) => this.#own.names.includes(name))
  }

  /** @throws TypeError for what are no options, for one that the verb does not take, and for a signal or a switch that is none */
  check(options: O): void {
    this.#own.check(options, this.call)
    checkSignal((options as { readonly signal?: unknown }).signal)
    for (const name of this.#switches) checkSwitch((options as Readonly<Record<string, unknown>>)[name], name)
  }

  /**
   * The verb's own options, of those that the manager was given; `undefined`: none.
   *
   * @throws TypeError without a tenant, and for an option that the verb does not take
   */
  withoutTenant(options: O & ForTenant): O | undefined {
    if (typeof options !== 'object' || options === null || options.tenant === undefined) {
      throw new TypeError(`a verb on the manager needs { tenant } in its options, not ${kindOf(options)}; or use cache.tenant(id)`)
    }
    this.#onManager.check(options, this.call)
    let own: Record<string, unknown> | undefined
    for (const name of this.#own.names) {
      const value = (options as Readonly<Record<string, unknown>>)[name]
      if (value !== undefined) (own ??= {})[name] = value
    }
    return own as O | undefined
  }
}

export function checkSwitch(value: unknown, option: string): void {
  if (value !== undefined && typeof value !== 'boolean') throw new TypeError(`${option} must be true or false, not ${kindOf(value)}`)
}

const KEY: Names<KeyOptions> = { policy: true, tiers: true }
const GET: Names<GetOptions> = { ...KEY, signal: true }
const WINDOWS: Names<WindowOptions> = { staleWhileRevalidate: true, staleIfError: true }
const STORE = { ...GET, ...WINDOWS, ttl: true, tags: true, metadata: true, jitter: true } as const
const REFRESH: Names<RefreshOptions> = { ...STORE, ...FRESHNESS_NAMES }
const COMPUTE: Names<GetOrComputeOptions> = { ...REFRESH, refresh: true }
const SET: Names<SetOptions> = { ...STORE, confirmed: true }
const DELETE: Names<DeleteOptions> = { ...GET, confirmed: true }
const END: Names<CloseOptions> = { deadline: true, confirmed: true }

export const GET_OR_COMPUTE = new Verb<GetOrComputeOptions>('getOrCompute(key, compute, options)', COMPUTE)
export const GET_OR_COMPUTE_MANY = new Verb<GetOrComputeOptions>('getOrComputeMany(keys, compute, options)', COMPUTE)
export const REFRESH_KEY = new Verb<RefreshOptions>('refresh(key, compute, options)', REFRESH)
export const GET_VALUE = new Verb<GetValueOptions>('get(key, options)', { ...GET, default: true })
export const PEEK = new Verb<KeyOptions>('peek(key, options)', KEY)
export const LOOKUP = new Verb<LookupOptions>('lookup(key, options)', { ...GET, ...WINDOWS, value: true })
export const HAS = new Verb<GetOptions>('has(key, options)', GET)
export const SET_VALUE = new Verb<SetOptions>('set(key, value, options)', SET)
export const DELETE_KEY = new Verb<GetOptions>('delete(key, options)', DELETE)
export const EXPIRE = new Verb<ExpireOptions>('expire(key, options)', { ...DELETE, ...WINDOWS })
export const CLEAR = new Verb<ClearVerbOptions>('clear(prefix, options)', { confirmed: true })
export const GET_STREAM = new Verb<GetOptions>('getStream(key, options)', GET)
export const SET_STREAM = new Verb<SetOptions>('setStream(key, source, options)', SET)
export const GET_OR_COMPUTE_STREAM = new Verb<GetOrComputeOptions>('getOrComputeStream(key, produce, options)', COMPUTE)
export const GET_MANY = new Verb<GetOptions>('getMany(keys, options)', GET)
export const SET_MANY = new Verb<SetOptions>('setMany(entries, options)', SET)
export const DELETE_MANY = new Verb<GetOptions>('deleteMany(keys, options)', DELETE)
export const LIST = new Verb<ListVerbOptions>('list(prefix, options)', { detail: true, signal: true })
export const FLUSH = new Verb<CloseOptions>('flush(options)', END)
export const CLOSE = new Verb<CloseOptions>('close(options)', END)
