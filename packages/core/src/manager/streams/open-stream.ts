import { isPromise, isStreamed, type CacheEntry, type EncodedPayload, type PayloadStream, type ValidKey } from '@thermocline/backend'
import { checkCompression } from '../../codec/compression.js'
import type { Plan, Slot } from '../../policies/policy.js'
import { count } from '../counters.js'
import { tierAttributes, type Engine } from '../engine.js'
import { accept, readOptions, type Found } from '../read.js'
import type { TenantState } from '../tenant-state.js'
import { askTier, NOBODY } from '../tier-access.js'

/** A fresh entry whose payload can be read as a stream, and where it was found. */
export interface FoundStream {
  readonly entry: CacheEntry
  readonly slot: Slot
  readonly position: number
  readonly payload: PayloadStream
  /** Where the whole payload is at hand: for promotion as usual. */
  readonly whole: Found | undefined
}

const IN_USE = Object.freeze({ want: 'value', use: true } as const)

/** As `walk`: asks the tiers for a fresh entry, for its payload as a stream where the tier has streams. */
export async function openStream(engine: Engine, state: TenantState, key: ValidKey, plan: Plan): Promise<FoundStream | undefined> {
  for (const [position, slot] of plan.slots.entries()) {
    const { tier } = slot
    const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
    try {
      const answer = askTier(engine, state, key, tier, readOptions(plan, IN_USE), true)
      if (answer === NOBODY) continue
      const entry = isPromise(answer) ? await answer : answer
      if (entry === undefined && engine.telemetry.bound) engine.telemetry.recordLatency({ ...tierAttributes(tier), operation: 'get' }, engine.clock.monotonic() - startedAt)
      const found = entry === undefined ? undefined : await openOne(engine, slot, position, entry, plan, startedAt)
      if (found !== undefined) return found
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state, key })
    }
    count(state.counters.tierMisses, slot.cell)
  }
  return undefined
}

async function openOne(engine: Engine, slot: Slot, position: number, entry: CacheEntry, plan: Plan, startedAt: number): Promise<FoundStream | undefined> {
  if (isStreamed(entry)) {
    if (engine.telemetry.bound) engine.telemetry.recordLatency({ ...tierAttributes(slot.tier), operation: 'get' }, engine.clock.monotonic() - startedAt)
    const { payload } = entry
    try {
      if (engine.clock.now() < entry.keepUntil) {
        checkCompression(payload.codec)
        return { entry, slot, position, payload, whole: undefined }
      }
    } catch (error) {
      payload.cancel()
      throw error
    }
    payload.cancel()
    return undefined
  }
  const whole = await accept(engine, slot, position, entry, IN_USE, startedAt)
  if (whole === undefined) return undefined
  const encoded = entry.encoded ?? engine.codecs.encode(entry.value, plan.policy.codec)
  return { entry, slot, position, payload: payloadOf(encoded), whole }
}

function payloadOf({ codec, bytes }: EncodedPayload): PayloadStream {
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    await Promise.resolve()
    yield bytes
  }
  return { codec, byteLength: bytes.byteLength, crc32: undefined, chunks, cancel: () => undefined }
}
