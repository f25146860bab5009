import { CacheError, instantAfter, isStreamed, type CacheEntry, type JournalSlot, type StreamedEntry } from '@thermocline/backend'
import { Backoff } from '../layers/backoff.js'
import { FENCED, NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import type { EngineHost } from '../state/host.js'
import { abandoned, HeldBackPut } from '../tiers/held-back-put.js'
import type { Upload } from './upload.js'

const DEFAULT_CONCURRENCY = 4
const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000
/** Larger copies are uploaded as a stream. */
const STREAMED_BYTES = 4 * 1024 ** 2

export interface UploaderOptions {
  readonly engine: EngineHost
  /** Uploads at once, for each tier. Default 4. */
  readonly concurrency: number | undefined
  /** Removes the copy of an upload that is done, or is not to be done. */
  readonly remove: (upload: Upload) => Promise<unknown>
  /** Its copy is not this process's any more. */
  readonly forget: (upload: Upload) => void
}

/** Carries uploads out, some at a time for each tier, and tries again what fails. */
export class Uploader {
  readonly #engine: EngineHost
  readonly #concurrency: number
  readonly #remove: (upload: Upload) => Promise<unknown>
  readonly #forget: (upload: Upload) => void
  readonly #waiting = new Map<Tier, Upload[]>()
  readonly #running = new Map<Tier, number>()
  /** Uploads that succeeded. */
  uploaded = 0
  /** Attempts that failed and were put off. */
  retries = 0
  #closed = false

  constructor({ engine, concurrency = DEFAULT_CONCURRENCY, remove, forget }: UploaderOptions) {
    this.#engine = engine
    this.#concurrency = concurrency
    this.#remove = remove
    this.#forget = forget
  }

  /** Starts nothing more. */
  close(): void {
    this.#closed = true
  }

  /** Attempts after a random wait that doubles, up to half a minute. */
  newRetries(): Backoff {
    return new Backoff({ clock: this.#engine.clock, firstMs: FIRST_RETRY_MS, longestMs: LAST_RETRY_MS, jitter: 0.5 })
  }

  /** Uploads it in its turn. */
  schedule(upload: Upload): void {
    const waiting = this.#waiting.get(upload.tier)
    if (waiting === undefined) this.#waiting.set(upload.tier, [upload])
    else waiting.push(upload)
    // in a moment: whoever has called is answered first
    this.#engine.clock.afterPendingIo(() => this.#startNext(upload.tier))
  }

  #startNext(tier: Tier): void {
    const running = this.#running.get(tier) ?? 0
    if (this.#closed || running >= (this.#concurrency)) return
    const upload = this.#waiting.get(tier)?.shift()
    if (upload === undefined) return
    this.#running.set(tier, running + 1)
    void this.#carryOut(upload)
      .catch((error: unknown) => this.#later(upload, error))
      .finally(() => {
        this.#running.set(tier, (this.#running.get(tier) ?? 1) - 1)
        this.#startNext(tier)
      })
    this.#startNext(tier)
  }

  async #carryOut(upload: Upload): Promise<void> {
    const { tier, journal, slot, state, key, fence } = upload
    const { clock } = this.#engine
    if (fence.broken) return
    if (tier.breaker.isOpen('write')) return this.#later(upload, undefined)
    if (clock.now() >= slot.expiresAt) return (await isOwn(slot)) ? this.#withdraw(upload) : this.#forget(upload)
    const entry = await journal.read(slot, slot.bytes > STREAMED_BYTES && tier.capabilities.streams ? 'stream' : 'payload')
    if (fence.broken) return cancel(entry)
    if (entry === undefined) return this.#withoutCopy(upload)
    // right before it is put: another process that has it may have put something newer already
    const isStillOwn = await isOwn(slot).catch((error: unknown) => {
      cancel(entry)
      throw error
    })
    if (!isStillOwn || fence.broken) {
      cancel(entry)
      return fence.broken ? undefined : this.#forget(upload)
    }
    const keepUntil = Math.min(slot.expiresAt, instantAfter(clock.now(), tier.maxTtlMs ?? Number.POSITIVE_INFINITY))
    const outcome = isStreamed(entry) ? await this.#stream(upload, entry, keepUntil) : await tier.queues.fill(state.scope, key, entry, { onlyIfAbsent: false, keepUntil }, fence)
    if (fence.broken) return
    if (outcome === true) {
      this.uploaded++
      if (await isOwn(slot).catch(() => true)) await this.#remove(upload)
      else this.#forget(upload)
      if (this.#engine.events.wants('writeBack')) this.#engine.events.emit('writeBack', { tenant: state.tenant, key, tier: tier.name })
    } else if (outcome === false) await this.#giveUp(upload, 'the tier does not take it')
    else this.#later(upload, outcome instanceof NotApplied ? outcome.error : undefined)
  }

  /** A large copy takes its turn on the key only for its end: what is called meanwhile does not wait for it, and ends it. */
  async #stream(upload: Upload, entry: StreamedEntry, keepUntil: number): Promise<boolean | NotApplied> {
    const { tier, slot, state, key, fence } = upload
    const { payload } = entry
    const most = tier.maxPayloadBytes
    const suspicion = tier.queues.suspicionOf(state.scope, key)
    if ((payload.byteLength ?? 0) > most || suspicion !== undefined) {
      payload.cancel()
      if (suspicion === undefined) return false
      return suspicion === 'owed' ? FENCED : new NotApplied('safe', new CacheError('in-doubt', `an entry is written back to ${tier.name} later: an operation on its key may still land there`, { operation: 'write-back', backend: tier.backend.name, tenant: state.tenant, key }))
    }
    const put = new HeldBackPut(state.scope, key, tier, { fields: entry, keepUntil, onlyIfAbsent: false, payload, most, fence })
    upload.stop = () => void put.abandon(abandoned())
    try {
      await put.held
      // it may have taken long: another process may have the copy by now, and something newer
      if (!fence.broken && !(await isOwn(slot))) this.#forget(upload)
      return await put.fill(fence)
    } catch (error) {
      void put.abandon(abandoned(error))
      throw error
    } finally {
      upload.stop = undefined
    }
  }

  /** Tries again in a while. */
  #later(upload: Upload, error: unknown): void {
    const { tier, state, key, fence, retries } = upload
    if (fence.broken || this.#closed) return
    if (error !== undefined) {
      this.retries++
      this.#engine.report(error, { operation: 'write-back', tier, state, key })
    }
    retries.schedule(() => this.schedule(upload))
  }

  /** One that is missing was taken up by another process, or invalidated by one from which this one has taken it: nothing here may delete what they have put. */
  async #withoutCopy(upload: Upload): Promise<void> {
    const { tier, state, key, slot } = upload
    if (!(await isOwn(slot))) return this.#forget(upload)
    if (upload.fence.broken) return
    if (slot.isOwn === undefined || slot.failure !== undefined) return this.#giveUp(upload, 'its copy in the journal is damaged')
    this.#engine.report(new CacheError('failed', `an entry was not written back to ${tier.name}: its copy in the journal is gone, as when another process has removed it for something newer`, { operation: 'write-back', backend: tier.backend.name, tenant: state.tenant, key }), { operation: 'write-back', tier, state, key })
    await this.#remove(upload)
  }

  /** It cannot be uploaded: what the tier has under the key is older and goes. */
  async #giveUp(upload: Upload, why: string): Promise<void> {
    const { tier, state, key } = upload
    this.#engine.report(new CacheError('failed', `an entry could not be written back to ${tier.name}: ${why}; the key is deleted there`, { operation: 'write-back', backend: tier.backend.name, tenant: state.tenant, key }), { operation: 'write-back', tier, state, key })
    await this.#withdraw(upload)
  }

  /** It is not to be uploaded: what the tier has under the key is older, and may live longer. */
  async #withdraw(upload: Upload): Promise<void> {
    const { tier, state, key } = upload
    const outcome = await tier.queues.delete(state.scope, key)
    if (outcome instanceof NotApplied && outcome.how === 'lost') return this.#later(upload, outcome.error)
    if (outcome instanceof NotApplied) this.#engine.report(outcome.error, { operation: 'write-back', tier, state, key })
    await this.#remove(upload)
  }
}

async function isOwn(slot: JournalSlot): Promise<boolean> {
  return slot.isOwn === undefined || slot.isOwn()
}

/** A stream holds a descriptor until it is read or given up. */
function cancel(entry: CacheEntry | undefined): void {
  if (entry !== undefined && isStreamed(entry)) entry.payload.cancel()
}
