import {
  CacheEntry,
  TenantScope,
  validateTenant,
  WrappedBackend,
  type Awaitable,
  type CacheBackend,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type ValidKey,
} from '@thermocline/backend'
import type { TenantCache, TieredCacheManager } from '@thermocline/core'

type Break = 'drops a delete' | 'brings an old value back late' | 'crosses tenants' | 'flips a byte' | 'keeps for ever'

export const BROKEN_BACKENDS: readonly Break[] = ['drops a delete', 'brings an old value back late', 'crosses tenants', 'flips a byte', 'keeps for ever']

const EVERY = 5
const LATE_MS = 20

/** A backend that is asynchronous, and wrong in one way now and then. */
export class BrokenBackend extends WrappedBackend {
  readonly #how: Break
  readonly #every: number
  #operations = 0

  /** @param every one operation of so many goes wrong */
  constructor(inner: CacheBackend, how: Break, every = EVERY) {
    super(inner)
    this.#how = how
    this.#every = every
  }

  override get capabilities(): CacheBackend['capabilities'] {
    return { ...this.inner.capabilities, synchronous: false }
  }

  override async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const isTurn = this.#isTurn('crosses tenants')
    const other = isTurn ? new TenantScope(validateTenant(scope.tenant === 'acme' ? 'globex' : 'acme')) : scope
    const entry = await this.inner.get(other, key, options)
    if (entry === undefined || options.want === 'head' || !this.#isTurn('flips a byte')) return entry
    return new CacheEntry(flipped(entry.value), undefined, entry)
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    if (this.#isTurn('brings an old value back late')) setTimeout(() => void this.inner.put(scope, key, entry, options), LATE_MS)
    if (this.#how !== 'keeps for ever') return this.inner.put(scope, key, entry, options)
    const immortal = new CacheEntry(entry.value, entry.encoded, { createdAt: entry.createdAt, expiresAt: Infinity })
    return this.inner.put(scope, key, immortal, { ...options, keepUntil: Infinity })
  }

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    return this.#isTurn('drops a delete') ? keys.length : this.inner.delete(scope, keys, options)
  }

  #isTurn(how: Break): boolean {
    return this.#how === how && ++this.#operations % this.#every === 0
  }
}

function flipped(value: unknown): unknown {
  if (Buffer.isBuffer(value)) {
    const copy = Buffer.from(value)
    copy[copy.length - 5] = (copy[copy.length - 5] ?? 0) ^ 1
    return copy
  }
  return typeof value === 'string' ? `${value.slice(0, -5)}~${value.slice(-4)}` : { ...(value as object), padding: '' }
}

type Verb = 'answers a delete before it is done' | 'computes for each caller' | 'loses the answer' | 'rejects'

export const BROKEN_MANAGERS: readonly Verb[] = ['answers a delete before it is done', 'computes for each caller', 'loses the answer', 'rejects']

/** A manager that is wrong in one way now and then. */
export function brokenManager(cache: TieredCacheManager, how: Verb): TieredCacheManager {
  let calls = 0
  const isTurn = (): boolean => ++calls % EVERY === 0
  const verbs: Partial<TenantCache> = {}
  const overridden = (tenant: TenantCache): Partial<TenantCache> => {
    switch (how) {
      case 'answers a delete before it is done':
        return {
          delete: (...args) => {
            setTimeout(() => void tenant.delete(...args).catch(() => undefined), LATE_MS)
            return Promise.resolve(true)
          },
        }
      case 'computes for each caller':
        return { getOrCompute: async (key, compute, options) => (await tenant.get(key)) ?? (compute as never as () => Promise<never>)().then((value) => tenant.set(key, value, options).then(() => value)) }
      case 'loses the answer':
        return { get: (...args) => (isTurn() ? new Promise(() => undefined) : tenant.get(...args)) }
      case 'rejects':
        return { get: (...args) => (isTurn() ? Promise.reject(new Error('a tier is down')) : tenant.get(...args)) }
    }
  }
  return with_(cache, {
    ...verbs,
    tenant: (id: string) => with_(cache.tenant(id), overridden(cache.tenant(id))),
  })
}

/** The object with some methods replaced. */
function with_<T extends object>(object: T, replaced: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      const found = (replaced as Record<PropertyKey, unknown>)[name] ?? Reflect.get(target, name, target)
      return typeof found === 'function' ? (found as (...args: never[]) => unknown).bind(target) : found
    },
  })
}
