import type { ValidKey } from '@thermocline/backend'
import { abortable } from '../flights/abort.js'
import { ComputeWishes } from '../flights/compute-context.js'
import { callingFlight } from '../flights/waiting.js'
import type { Slot } from '../policies/policy.js'
import type { Found } from '../operation/found.js'
import { ComputeOperation } from '../operation/operation.js'
import { walkTogether } from '../reading/read-many.js'
import { NoEntry, type Answer } from '../reading/tier-access.js'
import { better } from '../reading/walk.js'
import { count } from '../state/counters.js'
import { checked, LeftOut, ManyWishes, type ComputeMany } from './compute-batch.js'
import { getOrComputeInFlight, handedOut, startTogether, type ValueFlight } from './get-or-compute.js'

/** One key of a call, on its way through the tiers. */
export class KeyToMake extends ComputeOperation {
  found: Found | undefined = undefined
  #stale: Found | undefined = undefined

  /** What a tier has answered. */
  answered(slot: Slot, answer: Answer): void {
    if (answer instanceof NoEntry) {
      if (answer.wasAsked) count(this.state.counters.tierMisses, slot.cell)
    } else if (this.isContentWith(answer)) this.found = answer
    else this.#stale = better(this.#stale, answer)
  }

  /** What has come of it. */
  get outcome(): Found | undefined {
    return this.found ?? this.#stale
  }
}

/**
 * The long way of getOrComputeMany: each key joins its flight or starts one, and those that are started walk together. Resolves with the values, in the
 * order of the keys, `undefined` for what was left out.
 *
 * @throws what the first key fails with, once all have ended
 */
export async function getOrComputeTogether(operations: readonly KeyToMake[], signal: AbortSignal | undefined): Promise<({ readonly value: unknown } | undefined)[]> {
  const started = startMissing(operations)
  const caller = callingFlight()
  const outcomes = await Promise.allSettled(operations.map((operation) => {
    const flight = started.get(operation)
    return flight === undefined ? getOrComputeInFlight(operation, signal) : handedOut(operation, flight, caller, signal)
  }))
  const failed = outcomes.find((outcome) => outcome.status === 'rejected' && !(outcome.reason instanceof LeftOut))
  if (failed?.status === 'rejected') throw failed.reason
  return outcomes.map((outcome) => (outcome.status === 'fulfilled' ? { value: outcome.value } : undefined))
}

/** Only computes: for a cache that is closed or switched off. */
export async function computeTogether(tenant: string, keys: readonly ValidKey[], compute: ComputeMany<unknown>, given: AbortSignal | undefined): Promise<Map<string, unknown>> {
  const signal = given ?? new AbortController().signal
  const run = async (): Promise<unknown> => compute([...keys], new ManyWishes(keys.map((key) => ({ asked: new ComputeWishes(key, tenant, { signal }) }))))
  const made = checked(await abortable(run(), given))
  return new Map(keys.filter((key) => made.has(key)).map((key) => [key, made.get(key)]))
}

/** Starts flights for keys that have none, those of one plan together. */
function startMissing(operations: readonly KeyToMake[]): Map<KeyToMake, ValueFlight> {
  const groups = new Map<unknown, KeyToMake[]>()
  for (const operation of operations) {
    if (operation.isForced || operation.state.flights.get(operation.key) !== undefined) continue
    const group = groups.get(operation.plan)
    if (group === undefined) groups.set(operation.plan, [operation])
    else group.push(operation)
  }
  const started = new Map<KeyToMake, ValueFlight>()
  for (const group of groups.values()) {
    const flights = startTogether(group, () => walkTogether(group).then(() => group.map(({ outcome }) => outcome)))
    group.forEach((operation, at) => started.set(operation, flights[at] as ValueFlight))
  }
  return started
}
