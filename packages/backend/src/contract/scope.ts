import type { TenantId } from '../keys/key.js'

/**
 * A tenant as backends see it. Made once per tenant and manager, and kept while anybody uses the tenant, so an adapter
 * can hang on it whatever it derives from the tenant's name (see {@link ScopeSlot}).
 */
export class TenantScope {
  readonly tenant: TenantId
  /** @internal values of the {@link ScopeSlot}s, by slot number */
  readonly slots: unknown[] = []

  constructor(tenant: TenantId) {
    this.tenant = tenant
  }
}

/** Slot numbers are handed out for the whole process: two copies of this package must not use one slot for two things. */
const COUNTER = Symbol.for('thermocline.scope-slots')
const shared = globalThis as { [COUNTER]?: number }

function nextSlot(): number {
  const next = shared[COUNTER] ?? 0
  shared[COUNTER] = next + 1
  return next
}

/**
 * One value per scope for one backend: an encoded prefix, a directory, a map. Reading it is two array loads, where a
 * map keyed by the tenant's name would hash a string on every hit. Two managers have two scopes for one tenant.
 */
export class ScopeSlot<T> {
  readonly #index = nextSlot()

  get(scope: TenantScope): T | undefined {
    return scope.slots[this.#index] as T | undefined
  }

  set(scope: TenantScope, value: T): T {
    while (scope.slots.length <= this.#index) scope.slots.push(undefined) // holes would make the array slow
    scope.slots[this.#index] = value
    return value
  }
}
