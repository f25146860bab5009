import { Invalidation, type CacheEntry } from '@thermocline/backend'
import { deleteEverywhere, InvalidationUnderWay } from '../invalidation/invalidate.js'
import { ReadOperation, type Operation } from '../operation/operation.js'
import { Terms } from '../operation/terms.js'
import type { Slot } from '../policies/policy.js'
import { askThen, type Answer } from '../reading/tier-access.js'
import { Found } from '../operation/found.js'
import { abandoned } from '../tiers/held-back-put.js'
import { setEverywhere, ValueSnapshot } from '../writing/write.js'
import { openStream, type FoundStream } from './open-stream.js'
import { SharedStream } from './shared-stream.js'
import { drained, StreamedWrite } from './write-stream.js'

/**
 * The verb `expire`: what is there is not fresh any more, in every tier, and kept as long as the plan's stale window is open; without a window it is deleted.
 * What began before stores nothing, as for a delete.
 *
 * The newest entry there is is stored anew, everywhere, as of another end of its ttl. A tier that cannot take it loses the key. Rejected: a change
 * of the instants in place, which only some stores can make. While a set or delete of the key is under way, it deletes.
 */
export async function expireEverywhere(operation: Operation): Promise<boolean | undefined> {
  const { engine, state, key, plan } = operation
  const invalidation = Invalidation.ofKey(key)
  if (plan.freshness.windowMs === 0) return deleteEverywhere(engine, state, invalidation, plan)
  // while something newer is on its way a tier may still show what it replaces, which must not be stored anew
  if (state.fences.isInvalidating(key)) return deleteEverywhere(engine, state, invalidation, plan)
  const underWay = new InvalidationUnderWay(engine, state, invalidation, { isAtOnce: true })
  const fence = state.fences.openLater(key) // broken by what is called later, which wins
  try {
    const slot = await newestSlot(operation)
    const opened = slot && (await openStream(new ReadOperation(engine, state, key, { ...plan, slots: [slot] }, 'stream', false, true)))
    if (opened === undefined) return fence.broken ? false : await deleteEverywhere(engine, state, invalidation, plan)
    const { entry } = opened.found
    if (opened.isWhole) {
      if (!fence.broken) await setEverywhere(operation, new ValueSnapshot(operation, { value: entry.value, terms: termsOf(operation, entry) }))
    } else await storeStream(operation, opened, () => fence.broken)
    return true
  } finally {
    state.fences.closeLater(fence)
    const going = underWay.gone()
    await Promise.resolve(going).finally(() => underWay.end())
  }
}

/** The slot of the newest entry: another process may have set one in a tier that is shared, while a faster one still has the old one. */
async function newestSlot({ engine, state, key, plan }: Operation): Promise<Slot | undefined> {
  const looking = new ReadOperation(engine, state, key, plan, 'head', false, true)
  let newest: Found | undefined
  for (let position = 0; position < plan.slots.length; position++) {
    const answer = await askThen<Answer>(looking, position, (given) => given)
    if (answer instanceof Found && (newest === undefined || answer.entry.createdAt > newest.entry.createdAt)) newest = answer
  }
  return newest?.slot
}

/** The entry's terms with a ttl that is over now; what is over already stays so. It is kept no longer than it would have been. */
function termsOf({ engine, plan }: Operation, entry: CacheEntry): Terms {
  const staleAt = Math.min(engine.clock.now(), entry.staleAt)
  const createdAt = Math.min(entry.createdAt, staleAt - 1) // a ttl of 0 would not be stored
  const { tags, metadata } = entry.details ?? {}
  const windowMs = Math.min(plan.freshness.windowMs, entry.expiresAt - staleAt)
  return new Terms(createdAt, plan, { ttlMs: staleAt - createdAt, windowMs, computeMicros: entry.computeMicros, tags, metadata })
}

async function storeStream(operation: Operation, { found, payload }: FoundStream, isOutdated: () => boolean): Promise<void> {
  const { engine } = operation
  const stream = new SharedStream(payload.chunks(), { clock: engine.clock, cancel: () => payload.cancel() })
  engine.streams.add(stream)
  const write = new StreamedWrite(operation, stream, { stream, codec: payload.codec }, termsOf(operation, found.entry), undefined)
  try {
    await drained(stream)
    await stream.ended
  } catch (error) {
    await write.abandon(abandoned(error))
    throw error
  } finally {
    engine.streams.delete(stream)
  }
  if (isOutdated()) await write.abandon(abandoned())
  else await write.set()
}
