import {
  CacheEntry,
  instantAfter,
  isStreamed,
  StreamedEntry,
  validateTenant,
  type CacheError,
  type Invalidation,
  type JournalSlot,
  type JournalWant,
  type StoredEntryInfo,
  type ValidKey,
} from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import { TransientMap } from '../flights/transient-map.js'
import { journalSlot, type Plan, type Slot } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import { CopyRemovals } from './copy-removals.js'
import type { EngineHost } from '../state/host.js'
import { LeftBehind } from './left-behind.js'
import type { TenantState } from '../state/tenant-state.js'
import { TimedJournal } from './timed-journal.js'
import { idOf, newUpload, type Upload } from './upload.js'
import { Uploader } from './uploader.js'

/*
 * Write-back: a slow tier gets its entries in the background, and none that was acknowledged is lost while the disk survives.
 *
 * A set is answered once the durable tier above holds the entry and its journal has a copy for the slow tier. The copy is uploaded, with
 * backoff for as long as it takes; until then it answers for that tier, which may still hold an older value. Every set, delete and
 * clear breaks what is queued for its keys in the moment it is called. The copies stay until it is carried out, so that a crash before
 * loses nothing that was answered; it is not answered before they are gone, so that a restart after it brings nothing back. Of several for
 * one key the oldest goes first, and a restart takes the newest. While it is under way such a tier counts as empty: what it holds itself
 * is older than what was answered last. A copy that cannot be removed is owed for as long as the process lives, and whoever needed that
 * is told so (`not-recorded`). An upload goes through the tier's queue like any other write.
 *
 * What goes wrong in the journal is the journal's: the entry is in the durable tier without a copy, and the slow tier is written through.
 *
 * Rejected: the manager's fences, which an invalidation under way gives out broken: of two sets at once the later one's upload would be
 * dropped. And writing through when the disk fails or the journal hangs: the call has waited for one store already, so the key
 * is deleted there instead; where it is known beforehand (no room, the disk's circuit open, a journal that hangs) the tier is written through.
 */

export interface WriteBackOptions {
  /** Where pending uploads are kept. Default: in the directory of the durable tier. */
  readonly directory?: string | undefined
  /** The most bytes of pending uploads; beyond, sets are written through. Default 1 GiB. */
  readonly maxBytes?: number | undefined
  /** The most pending uploads; beyond, sets are written through. Default 10,000. */
  readonly maxEntries?: number | undefined
  /** Uploads at once, for each tier. Default 4. */
  readonly concurrency?: number | undefined
}

/** What `stats` tells of write-back. */
export interface WriteBackStats {
  /** Uploads that are waiting or running. */
  readonly pending: number
  readonly bytes: number
  readonly uploaded: number
  /** Attempts that failed and are tried again. */
  readonly retries: number
  /** Copies of what is not to be uploaded any more that could not be removed from the journal, which is tried again: a restart would upload them. */
  readonly removalsOwed: number
}

const DEFAULT_MAX_BYTES = 1024 ** 3
const DEFAULT_MAX_ENTRIES = 10_000

/** Whether a slot is to have an entry, and until when it lives there. */
export type Belongs = (slot: Slot) => { readonly expiresAt: number } | undefined

/** What a call has queued, before its durable tier has answered. */
export interface QueuedWrites {
  /** The slot whose put is to make the first copy. */
  readonly keeper: Slot
  readonly first: JournalSlot
  /** The slots that will be written back, and so not now. */
  readonly slots: ReadonlySet<Slot>
  /** The durable tier holds the entry. Rejects when not all copies could be made, for what is the journal's alone. Older copies are gone then. */
  enter(entry: CacheEntry): Promise<void>
  /** Broken when something newer is called for a slot's tier. */
  fenceOf(slot: Slot): Fence
  /** It does not. */
  abandon(): Promise<void>
}

/** What an invalidation has broken. */
export interface Broken {
  /** To be called when the invalidation is carried out: removes what it has broken. Resolves when no restart brings that back, with what went wrong where one may. */
  gone(): Promise<readonly CacheError[]>
  /** To be called when the invalidation is over. */
  readonly end: () => void
}

export interface PreparedWrites extends QueuedWrites {
  /** From now on what invalidates the key breaks it. */
  register(): void
  /** So many bytes have come; `false`: the journal has no room for them. */
  grow(bytes: number): boolean
}

export class WriteBack {
  readonly #engine: EngineHost
  readonly #options: WriteBackOptions
  readonly #journals = new Map<Tier, TimedJournal>()
  /** Everything whose copy is not gone yet, by tier, tenant and key. */
  readonly #queued = new Map<string, Upload[]>()
  /** What was queued before invalidations that are under way, and how many they are: the tiers themselves hold what is older. */
  readonly #outdated = new TransientMap<string, number>()
  readonly #uploader: Uploader
  readonly #removals: CopyRemovals<Upload>
  readonly #leftBehind: LeftBehind
  #size = 0
  #registered = 0
  #idle: (() => void)[] = []
  #closed = false

  /** @throws TypeError for invalid options */
  constructor(engine: EngineHost, options: WriteBackOptions = {}) {
    for (const name of ['maxBytes', 'maxEntries', 'concurrency'] as const) {
      const value = options[name]
      if (value !== undefined && !(Number.isInteger(value) && value > 0)) throw new TypeError(`writeBack.${name} must be a positive whole number, not ${String(value)}`)
    }
    if (options.directory !== undefined && (typeof options.directory !== 'string' || options.directory === '')) throw new TypeError('writeBack.directory must be the path of a directory')
    this.#engine = engine
    this.#options = options
    this.#uploader = new Uploader({ engine, concurrency: options.concurrency, remove: (upload) => this.#remove(upload), forget: (upload) => this.#forget(upload) })
    this.#removals = new CopyRemovals({
      clock: engine.clock,
      remove: (upload) => this.#removeInOrder(upload),
      removed: (upload) => this.#removed(upload),
      failed: (upload, error) => this.#notRemoved(upload, error),
    })
    this.#leftBehind = new LeftBehind({
      clock: engine.clock,
      takeUp: (journal, slot) => this.#resume(journal, slot),
    })
    // also where no policy writes back: a call may, and what an earlier process left must not come after what this one stores or deletes
    for (const tier of engine.tiers.slice(0, -1)) if (tier.journalKeeper !== undefined) this.#journalOf(tier)
  }

  /** Whether {@link pending} has nothing to say about any key. */
  get isIdle(): boolean {
    return this.#queued.size === 0 && this.#outdated.size === 0
  }

  get stats(): WriteBackStats {
    let pending = 0
    let bytes = 0
    for (const uploads of this.#queued.values()) for (const { slot, fence } of uploads) if (!fence.broken) { pending++; bytes += slot.bytes }
    return { pending, bytes, uploaded: this.#uploader.uploaded, retries: this.#uploader.retries, removalsOwed: this.#removals.owed }
  }

  /**
   * Queues an entry for the plan's slots that are written back; to be called when the call is made. `undefined`: there are none, or
   * they are to be written through, because the journal is full or the disk takes no writes now.
   *
   * @param belongs whether a slot is to have the entry at all, and until when it lives there
   */
  queue(state: TenantState, key: ValidKey, plan: Plan, bytes: number, belongs: Belongs): QueuedWrites | undefined {
    const queue = this.prepare(state, key, plan, bytes, belongs)
    queue?.register()
    return queue
  }

  /** The same for an entry that is put before its turn in the order of calls comes: nothing that is called now breaks it before it is registered. */
  prepare(state: TenantState, key: ValidKey, plan: Plan, bytes: number, belongs: Belongs): PreparedWrites | undefined {
    let keeper: Slot | undefined
    const uploads: Upload[] = []
    const slots = new Map<Slot, Upload>()
    for (const [at, slot] of plan.slots.entries()) {
      if (slot.write !== 'back') continue
      keeper ??= journalSlot(plan.slots, at)
      const kept = belongs(slot)
      if (keeper === undefined || kept === undefined || belongs(keeper) === undefined || this.#closed || keeper.tier.breaker.isOpen('write')) continue
      const journal = this.#journalOf(keeper.tier)
      if (journal.isHanging) continue
      const place = journal.reserve({ tier: slot.tier.name, tenant: state.tenant, key, expiresAt: kept.expiresAt, bytes })
      if (place === undefined) {
        if (this.#isFull(journal, bytes)) this.#warnOfFull(journal)
        continue
      }
      const upload = newUpload(this.#uploader.newRetries(), journal, place, slot.tier, state, key)
      slots.set(slot, upload)
      uploads.push(upload)
    }
    const first = uploads[0]
    if (keeper === undefined || first === undefined) return undefined
    return {
      keeper,
      first: first.slot,
      slots: new Set(slots.keys()),
      fenceOf: (slot) => (slots.get(slot) ?? first).fence,
      register: () => {
        for (const upload of uploads) this.#register(upload)
      },
      grow: (size) => uploads.every(({ journal, slot }) => journal.grow(slot, size) || this.#warnOfFull(journal)),
      enter: async (entry) => {
        if (first.slot.failure !== undefined) throw first.slot.failure
        for (const upload of uploads.slice(1)) await upload.journal.store(upload.slot, state.scope, entry)
        await Promise.all(uploads.map((upload) => this.#enter(upload)))
      },
      abandon: async () => {
        for (const upload of uploads) upload.entered = true
        await Promise.all(uploads.map((upload) => this.#remove(upload)))
      },
    }
  }

  /** Something newer was computed than what an earlier process may have left. `undefined`: there is nothing to wait for. */
  outdate(state: TenantState, key: ValidKey): Promise<void> | undefined {
    return this.#leftBehind.note({ tenant: state.tenant, key })?.then((errors) => {
      for (const error of errors) this.#engine.report(error, { operation: 'write-back', state, key })
    })
  }

  /** Breaks what is queued for what an invalidation covers, in the moment something newer is called. `undefined`: there is nothing to wait for. */
  invalidate(state: TenantState, invalidation: Invalidation): Broken | undefined {
    const noted = this.#leftBehind.note({ tenant: state.tenant, ...invalidation.data })
    if (this.#queued.size === 0) return brokenBy(noted)
    return this.#break((upload) => isCovered(upload, state, invalidation), this.#idsOf(state, invalidation), noted)
  }

  /** Where what the invalidation covers may be queued. */
  #idsOf(state: TenantState, { key }: Invalidation): readonly string[] {
    return key === undefined ? [...this.#queued.keys()] : this.#engine.tiers.map((tier) => idOf(tier, state, key))
  }

  /**
   * What is to be asked instead of a tier that holds something older: reads the copy that it is still to have, or finds nothing. Where that
   * rejects the tier has no answer.
   */
  pending(tier: Tier, state: TenantState, key: string): ((want: JournalWant) => Promise<CacheEntry | undefined>) | undefined {
    const id = idOf(tier, state, key)
    const upload = newestOf(this.#queued.get(id))
    if (upload !== undefined) return async (want) => cut(await upload.journal.read(upload.slot, want), tier)
    return this.#outdated.has(id) ? nothing : undefined
  }

  /** Whether {@link pending} has a copy to read. */
  hasPending(tier: Tier, state: TenantState, key: string): boolean {
    return newestOf(this.#queued.get(idOf(tier, state, key))) !== undefined
  }

  /** The copies that {@link pending} would read, of all keys with the prefix. */
  pendingUnder(tier: Tier, state: TenantState, prefix: string): StoredEntryInfo[] {
    const found: StoredEntryInfo[] = []
    for (const uploads of this.#queued.values()) {
      const upload = newestOf(uploads)
      if (upload?.tier !== tier || upload.state.tenant !== state.tenant || !upload.key.startsWith(prefix)) continue
      const { bytes: size, expiresAt } = upload.slot
      found.push(tier.maxTtlMs === undefined ? { key: upload.key, size, expiresAt } : { key: upload.key, size })
    }
    return found
  }

  /** Whether a copy of what the invalidation covers is still to be uploaded or removed. */
  hasQueued(state: TenantState, invalidation: Invalidation): boolean {
    if (this.#queued.size === 0) return false
    return this.#idsOf(state, invalidation).some((id) => this.#queued.get(id)?.some((upload) => isCovered(upload, state, invalidation)))
  }

  /** Tries everything that waits at once: a tier has recovered, or somebody flushes. */
  kick(): void {
    this.#removals.retryNow()
    for (const uploads of this.#queued.values()) for (const { retries } of uploads) retries.now()
  }

  /** Resolves when nothing is queued any more but what cannot be removed. */
  drained(): Promise<void> {
    this.kick()
    return this.#isDrained || this.#closed ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Stops uploading; what is pending stays in the journal. */
  async close(): Promise<void> {
    this.#closed = true
    this.#uploader.close()
    this.#leftBehind.close()
    for (const uploads of this.#queued.values()) for (const { retries, stop } of uploads) {
      retries.cancel()
      stop?.()
    }
    await this.#removals.close()
    const { owed } = this.#removals
    if (owed > 0) this.#engine.warnOnce('write-back owed', `the journal of write-back still has copies that could not be removed (${owed}): the next start will upload them, over what is newer`)
    await Promise.all([...this.#journals.values()].map((journal) => journal.close()))
    for (const resolve of this.#idle.splice(0)) resolve() // what is left is left to the next start
  }

  #isFull({ size }: TimedJournal, bytes: number): boolean {
    const { maxBytes = DEFAULT_MAX_BYTES, maxEntries = DEFAULT_MAX_ENTRIES } = this.#options
    return size.entries >= maxEntries || size.bytes + bytes > maxBytes
  }

  #warnOfFull({ size: { entries, bytes } }: TimedJournal): false {
    this.#engine.warnOnce('write-back full', `the journal of write-back is full (${entries} entries, ${bytes} bytes): sets are written through until there is room`)
    return false
  }

  #journalOf(keeper: Tier): TimedJournal {
    const known = this.#journals.get(keeper)
    if (known !== undefined) return known
    const { directory, maxBytes = DEFAULT_MAX_BYTES, maxEntries = DEFAULT_MAX_ENTRIES } = this.#options
    const opened = (keeper.journalKeeper as NonNullable<Tier['journalKeeper']>).openJournal({ directory, maxBytes, maxEntries, patienceMs: keeper.budgetMs / 2 })
    const journal = new TimedJournal(opened, keeper, this.#engine.clock)
    this.#journals.set(keeper, journal)
    for (const slot of journal.load()) this.#resume(journal, slot)
    this.#leftBehind.waitFor(journal, keeper)
    return journal
  }

  /** Takes up what an earlier process left. */
  #resume(journal: TimedJournal, slot: JournalSlot): void {
    const tier = this.#engine.tiers.find(({ name }) => name === slot.tier)
    if (tier === undefined) {
      this.#engine.warnOnce(`write-back ${slot.tier}`, `the journal of write-back holds entries for a tier ${JSON.stringify(slot.tier)} that does not exist any more; they are left there`)
      return
    }
    const state = this.#engine.tenants.of(validateTenant(slot.tenant))
    const upload = newUpload(this.#uploader.newRetries(), journal, slot, tier, state, slot.key)
    const others = this.#queued.get(upload.id) ?? []
    if (others.some(({ entered, fence, rank }) => entered && !fence.broken && rank > upload.rank)) upload.fence.broken = true
    this.#add(upload)
    void this.#enter(upload)
  }

  /** It takes its place in the order of calls. */
  #register(upload: Upload): void {
    upload.rank = ++this.#registered
    this.#add(upload)
  }

  #add(upload: Upload): void {
    this.#size++
    const others = this.#queued.get(upload.id)
    if (others === undefined) this.#queued.set(upload.id, [upload])
    else others.push(upload)
  }

  /** Its copy is there: it is uploaded, and what is older goes. */
  async #enter(upload: Upload): Promise<void> {
    upload.entered = true
    // what was called later removes it, when that is carried out
    if (upload.fence.broken && upload.holders > 0 && !upload.isDue) return
    if (upload.fence.broken) {
      await this.#remove(upload)
      return
    }
    this.#uploader.schedule(upload)
    await Promise.all(this.#olderThan(upload).map((older) => this.#remove(older)))
  }

  #olderThan({ id, rank }: Upload): Upload[] {
    return (this.#queued.get(id) ?? []).filter((other) => other.entered && other.rank < rank)
  }

  #break(concerns: (upload: Upload) => boolean, ids: readonly string[], noted: Promise<readonly CacheError[]> | undefined): Broken | undefined {
    const broken: Upload[] = []
    const outdated = new Set<string>()
    for (const id of ids) {
      for (const upload of this.#queued.get(id) ?? []) {
        if (!concerns(upload)) continue
        if (!upload.fence.broken) outdated.add(id)
        this.#cancel(upload)
        upload.holders++
        broken.push(upload)
      }
    }
    if (broken.length === 0) return brokenBy(noted)
    for (const id of outdated) this.#outdated.set(id, (this.#outdated.get(id) ?? 0) + 1)
    let going: Promise<(CacheError | undefined)[]> | undefined
    const go = (): Promise<(CacheError | undefined)[]> => (going ??= Promise.all(broken.map((upload) => this.#letGo(upload))))
    return {
      gone: () => Promise.all([noted, go()]).then(([errors = [], more]) => [...errors, ...more.filter((error) => error !== undefined)]),
      end: () => {
        void go()
        for (const id of outdated) this.#endOutdated(id)
      },
    }
  }

  #endOutdated(id: string): void {
    const left = (this.#outdated.get(id) ?? 1) - 1
    if (left === 0) this.#outdated.delete(id)
    else this.#outdated.set(id, left)
  }

  /** Something newer is carried out. What has not entered yet is removed when its put has ended. */
  #letGo(upload: Upload): Promise<CacheError | undefined> {
    upload.holders--
    upload.isDue = true
    return upload.entered && this.#isQueued(upload) ? this.#remove(upload) : upload.tried
  }

  #isQueued(upload: Upload): boolean {
    return this.#queued.get(upload.id)?.includes(upload) === true
  }

  #cancel(upload: Upload): void {
    upload.fence.broken = true
    upload.retries.cancel()
    upload.stop?.()
  }

  /** Not to be uploaded any more: removes its copy. Resolves with what went wrong, if that is still there. */
  #remove(upload: Upload): Promise<CacheError | undefined> {
    this.#cancel(upload)
    return this.#removals.remove(upload)
  }

  /** The older ones first: whatever ends in between, a restart takes the newest. */
  async #removeInOrder(upload: Upload): Promise<void> {
    for (const older of this.#olderThan(upload)) {
      const error = await this.#remove(older)
      if (error !== undefined) throw error
    }
    await upload.journal.remove(upload.slot)
  }

  /** Its copy is another process's now, which uploads it. */
  #forget(upload: Upload): void {
    this.#cancel(upload)
    this.#removed(upload)
  }

  #removed(upload: Upload): void {
    const others = this.#queued.get(upload.id)
    const at = others?.indexOf(upload) ?? -1
    if (others !== undefined && at >= 0) {
      others.splice(at, 1)
      this.#size--
      if (others.length === 0) this.#queued.delete(upload.id)
    }
    this.#triedToRemove(upload, undefined)
  }

  /** It stays queued, so that what invalidates its key later needs it to be gone, too. */
  #notRemoved(upload: Upload, error: CacheError): void {
    const { tier, state, key } = upload
    if (!this.#isQueued(upload)) this.#add(upload)
    this.#engine.report(error, { operation: 'write-back', tier, state, key })
    this.#engine.warnOnce('write-back removal', `a copy in the journal of write-back cannot be removed, which is tried again; a restart before would upload it once more: ${error.message}`)
    this.#triedToRemove(upload, error)
  }

  #triedToRemove(upload: Upload, error: CacheError | undefined): void {
    upload.leave(error)
    this.#engine.progressed()
    if (this.#isDrained) for (const resolve of this.#idle.splice(0)) resolve()
  }

  get #isDrained(): boolean {
    return this.#size === this.#removals.owed
  }
}

function isCovered({ state: { tenant }, key }: Upload, state: TenantState, invalidation: Invalidation): boolean {
  return tenant === state.tenant && invalidation.covers(key)
}

/** The copy that answers for its tier. */
function newestOf(uploads: readonly Upload[] | undefined): Upload | undefined {
  let newest: Upload | undefined
  for (const upload of uploads ?? []) if (upload.entered && !upload.fence.broken && upload.rank > (newest?.rank ?? Number.NEGATIVE_INFINITY)) newest = upload
  return newest
}

/** Where nothing was queued. */
function brokenBy(noted: Promise<readonly CacheError[]> | undefined): Broken | undefined {
  return noted && { gone: () => noted, end: () => undefined }
}

function nothing(): Promise<undefined> {
  return Promise.resolve(undefined)
}

/** The copy as the tier may serve it, had it taken the entry in when that was made. */
function cut(copy: CacheEntry | undefined, { maxTtlMs }: Tier): CacheEntry | undefined {
  if (copy === undefined || maxTtlMs === undefined) return copy
  const { createdAt, expiresAt, computeMicros, details } = copy
  const fields = { createdAt, expiresAt, computeMicros, details: { ...details, keepUntil: instantAfter(createdAt, maxTtlMs) } }
  return isStreamed(copy) ? new StreamedEntry(copy.payload, fields) : new CacheEntry(copy.value, copy.encoded, fields)
}
