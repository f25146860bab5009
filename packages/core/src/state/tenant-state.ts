import { Invalidation, TenantScope, type TenantId } from '@thermocline/backend'
import { FenceTable } from '../flights/fence.js'
import type { Flight, FlightOwner } from '../flights/flight.js'
import { TransientMap } from '../flights/transient-map.js'
import { Counters } from './counters.js'
import type { Refresh } from './refreshes.js'
import { RememberedErrors } from './remembered-errors.js'

/** What a manager keeps in the process about one tenant: nothing that grows with its entries. */
export class TenantState implements FlightOwner {
  readonly tenant: TenantId
  readonly scope: TenantScope
  readonly fences = new FenceTable()
  /** What is looked for and made where it is not found, a value or a stream: at most one for a key. */
  readonly flights = new TransientMap<string, Flight>()
  /** Streams of what tiers hold that more callers may join. */
  readonly downloads = new TransientMap<string, Flight>()
  /** What is made anew though something is at hand: at most one for a key. Whoever finds nothing joins it. */
  readonly refreshes = new TransientMap<string, Flight>()
  /** The refreshes in the background that wait, run or rest. */
  readonly refreshing = new TransientMap<string, Refresh>()
  readonly errors = new RememberedErrors()
  readonly counters: Counters
  readonly #all: readonly TransientMap<string, Flight>[] = [this.flights, this.downloads, this.refreshes]

  constructor(tenant: TenantId, counters: Counters) {
    this.tenant = tenant
    this.scope = new TenantScope(tenant)
    this.counters = counters
  }

  /**
   * Begins an invalidation: whatever began on a key that it covers stores nothing from now on, and the next caller starts a new flight.
   * So it stays until the returned function is called, at the end: what begins meanwhile may still read the old value in
   * some tier, so it stores nothing either, and its flight is left then.
   *
   * @param isAtOnce whether synchronous tiers will have applied it before anything else happens: a set of a value that is at hand
   */
  invalidating(invalidation: Invalidation, isAtOnce = false): () => void {
    this.detach(invalidation)
    const end = this.fences.whileInvalidating(invalidation, isAtOnce)
    return () => {
      end()
      this.detach(invalidation)
    }
  }

  /** The flight that makes the key's value now; callers who want a new one share it. */
  making(key: string): Flight | undefined {
    const flight = this.refreshes.get(key) ?? this.flights.get(key)
    return flight?.isMaking === true ? flight : undefined
  }

  /** Nobody waits for the flight: it stores nothing, and the next caller starts a new one. One that only looks leaves the key's compute alone. */
  deserted(flight: Flight): void {
    if (flight.isMaking) this.fences.breakOne(flight.fence)
    this.leave(flight)
  }

  /** The flight is over: nobody joins it any more. */
  landed(flight: Flight): void {
    if (!flight.end()) return
    this.fences.close(flight.fence)
    this.leave(flight)
  }

  /** A flight has found its stream in a tier, and makes nothing any more: whoever wants the value looks for it there. */
  onlyReads(flight: Flight): void {
    if (this.flights.get(flight.key) !== flight) return
    this.flights.delete(flight.key)
    this.downloads.set(flight.key, flight)
  }

  /** Nobody joins the flight any more; it goes on for those who have. */
  leave(flight: Flight): void {
    for (const flights of this.#all) if (flights.get(flight.key) === flight) flights.delete(flight.key)
  }

  /** Whatever began on what the invalidation covers stores nothing from now on; the next caller starts a new flight. */
  detach(invalidation: Invalidation): void {
    this.errors.forget(invalidation)
    if (invalidation.key !== undefined) return this.detachKey(invalidation.key)
    this.fences.break(invalidation)
    for (const key of this.refreshing.keys()) if (invalidation.covers(key)) this.#stopRefreshing(key)
    for (const flights of this.#all) for (const key of flights.keys()) if (invalidation.covers(key)) flights.delete(key)
  }

  /** The same for one key. */
  detachKey(key: string): void {
    this.fences.breakKey(key)
    this.#stopRefreshing(key)
    for (const flights of this.#all) flights.delete(key)
  }

  /** What is there from now on may need a refresh of its own. */
  #stopRefreshing(key: string): void {
    const refresh = this.refreshing.get(key)
    if (refresh === undefined) return
    refresh.restsUntil = Number.NEGATIVE_INFINITY
    this.refreshing.delete(key)
  }

  /** Tells everything that runs that nobody wants it any more. */
  abortFlights(reason: unknown): void {
    for (const flights of this.#all) for (const flight of [...flights.values()]) flight.abort(reason)
  }
}

/**
 * The tenants of a manager: one state per tenant for as long as anybody uses it. Two states for one tenant at the same
 * time would break single flight and fences, so the state lives while a handle or a running operation holds it (the manager
 * itself keeps the handles of up to 1,000). The counts of those that are gone go into the totals.
 */
export class TenantRegistry {
  readonly #live = new Map<string, { readonly state: WeakRef<TenantState>; readonly counters: Counters }>()
  /** The counts of tenants that are gone. */
  readonly retired: Counters
  readonly #policies: number
  readonly #tiers: number
  readonly #collected = new FinalizationRegistry<string>((tenant) => this.#retire(tenant))

  constructor(policies: number, tiers: number) {
    this.#policies = policies
    this.#tiers = tiers
    this.retired = new Counters(policies, tiers)
  }

  of(tenant: TenantId): TenantState {
    return this.#live.get(tenant)?.state.deref() ?? this.#create(tenant)
  }

  peek(tenant: string): TenantState | undefined {
    return this.#live.get(tenant)?.state.deref()
  }

  /** Whatever began goes into no tier of the process's own. */
  beginHearing(): void {
    for (const { state } of this.#live.values()) state.deref()?.fences.beginHearing()
  }

  /** Whatever began stores nothing from now on. */
  detachAll(): void {
    for (const { state } of this.#live.values()) state.deref()?.invalidating(Invalidation.ofPrefix('', 'elsewhere'))()
  }

  /** Tells every running compute that nobody wants it any more. */
  abortFlights(reason: unknown): void {
    for (const { state } of this.#live.values()) {
      state.deref()?.abortFlights(reason)
    }
  }

  /** The sum over all tenants there ever were. */
  totals(): Counters {
    const totals = new Counters(this.#policies, this.#tiers)
    totals.add(this.retired)
    for (const { counters } of this.#live.values()) totals.add(counters)
    return totals
  }

  /** The tenants remembered, with their counts. */
  *each(): Iterable<readonly [tenant: string, counters: Counters]> {
    for (const [tenant, { counters }] of this.#live) yield [tenant, counters]
  }

  #create(tenant: TenantId): TenantState {
    this.#retire(tenant)
    const counters = new Counters(this.#policies, this.#tiers)
    const state = new TenantState(tenant, counters)
    this.#live.set(tenant, { state: new WeakRef(state), counters })
    this.#collected.register(state, tenant)
    return state
  }

  #retire(tenant: string): void {
    const gone = this.#live.get(tenant)
    if (gone === undefined || gone.state.deref() !== undefined) return
    this.retired.add(gone.counters)
    this.#live.delete(tenant)
  }
}
