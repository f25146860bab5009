import {
  CacheEntry,
  isStreamed,
  StreamedEntry,
  WrappedBackend,
  type Awaitable,
  type CacheBackend,
  type PutOptions,
  type ReadOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'

/*
 * Tiers that are a process's own, such as its memory: what others have invalidated is removed there when this process hears of it. So an entry is believed only
 * while the process hears others, and nothing was missed since it was taken in. Each entry has a mark of when that was.
 */

/** When an entry came into a tier of the process's own. */
export interface Mark {
  /** Of what was heard without a gap; another one since then: something may have been missed. */
  readonly generation: object
  /** By the clock's `monotonic`; possibly a little earlier than it was. */
  readonly takenAt: number
}

/** Who knows what may be believed. */
export interface Beliefs {
  /** The mark of what is taken in now. */
  mark(belief?: PutOptions['belief']): Mark
  believes(mark: Mark): boolean
  /** Whether others are heard: what is not believed then never will be. */
  readonly isHearing: boolean
  /** Resolves when it is known whether others are heard; `undefined`: it is. */
  readonly beginning: Promise<void> | undefined
  /** The mark as a text, for what outlives the process or is read by others on the same machine. */
  stamp(belief?: PutOptions['belief']): string
  believesStamp(stamp: string): boolean
  /** Whether another process has taken it in. */
  isOfOthers(stamp: string): boolean
  /** For how long what is not heard of is believed, in milliseconds. */
  readonly maxStalenessMs: number
}

/** A tier of the process's own. */
export interface OwnTier extends CacheBackend {
  /** Whether an entry of this tier may be believed. */
  believes(entry: CacheEntry): boolean
  /** For how long an entry of this tier may be kept elsewhere, in milliseconds: what another process has put there may be what was removed just before. `undefined`: no limit. */
  limitMs(entry: CacheEntry): number | undefined
  /** Whether an entry of this tier is what the message with that id told of: a set put it there and told of it. */
  isToldOf(entry: CacheEntry, id: string): boolean
}

/** The tier's backend as one of the process's own. */
export function ownTier(inner: CacheBackend, beliefs: Beliefs): OwnTier {
  return inner.capabilities.synchronous ? new OwnMemory(inner, beliefs) : new OwnDisk(inner, beliefs)
}

/** Notes that keep an entry's mark. */
export interface KeepsMark {
  readonly mark: Mark | undefined
}

/** What stands on an entry before its first hit: its mark alone. */
export class MarkNote implements KeepsMark {
  readonly mark: Mark

  constructor(mark: Mark) {
    this.mark = mark
  }
}

const PEEK: ReadOptions = { want: 'payload', touch: false }

/** A synchronous tier of the process's own: it hands out what is believed, and nothing else is there. */
class OwnMemory extends WrappedBackend implements OwnTier {
  readonly #beliefs: Beliefs
  #note: MarkNote | undefined

  constructor(inner: CacheBackend, beliefs: Beliefs) {
    super(inner)
    this.#beliefs = beliefs
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): CacheEntry | undefined {
    const entry = this.inner.get(scope, key, options) as CacheEntry | undefined
    return entry === undefined || this.believes(entry) ? entry : undefined
  }

  override getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): readonly (CacheEntry | undefined)[] {
    return keys.map((key) => this.get(scope, key, options))
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    // what is not believed is in nobody's way
    const isFree = options.onlyIfAbsent && this.get(scope, key, PEEK) === undefined
    const stored = this.inner.put(scope, key, entry, isFree ? { ...options, onlyIfAbsent: false } : options)
    if (stored === true) {
      const taken = this.inner.get(scope, key, PEEK) as CacheEntry | undefined
      if (taken !== undefined) taken.hitNote = this.#noteNow(options.belief)
    }
    return stored
  }

  believes({ hitNote }: CacheEntry): boolean {
    const mark = (hitNote as KeepsMark | undefined)?.mark
    return mark !== undefined && this.#beliefs.believes(mark)
  }

  limitMs(): undefined {
    return undefined
  }

  isToldOf(): boolean {
    return false // whoever told of it has another memory
  }

  /** One note for all that come in at about the same time. */
  #noteNow(belief: PutOptions['belief']): MarkNote {
    const mark = this.#beliefs.mark(belief)
    if (this.#note?.mark !== mark) this.#note = new MarkNote(mark)
    return this.#note
  }
}

/** Any other tier of the process's own: each entry has a stamp, and what is not believed is removed when it is met. */
class OwnDisk extends WrappedBackend implements OwnTier {
  readonly #beliefs: Beliefs

  constructor(inner: CacheBackend, beliefs: Beliefs) {
    super(inner)
    this.#beliefs = beliefs
  }

  override async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#believed(scope, key, await this.inner.get(scope, key, options))
  }

  override async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    const entries = await this.inner.getMany(scope, keys, options)
    return Promise.all(entries.map((entry, at) => this.#believed(scope, keys[at] as ValidKey, entry)))
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    const stamp = this.#beliefs.stamp(options.belief)
    return this.inner.put(scope, key, stamped(entry, options.announces === undefined ? stamp : `${stamp} ${options.announces.id}`), options)
  }

  believes({ details }: CacheEntry): boolean {
    return details?.heardUpTo !== undefined && this.#beliefs.believesStamp(details.heardUpTo)
  }

  limitMs({ details }: CacheEntry): number | undefined {
    return details?.heardUpTo !== undefined && this.#beliefs.isOfOthers(details.heardUpTo) ? this.#beliefs.maxStalenessMs : undefined
  }

  isToldOf({ details }: CacheEntry, id: string): boolean {
    return details?.heardUpTo?.endsWith(` ${id}`) === true
  }

  async #believed(scope: TenantScope, key: ValidKey, entry: CacheEntry | undefined): Promise<CacheEntry | undefined> {
    if (entry === undefined || this.believes(entry)) return entry
    if (this.#beliefs.beginning !== undefined) {
      await this.#beliefs.beginning
      if (this.believes(entry)) return entry
    }
    if (isStreamed(entry)) entry.payload.cancel()
    if (this.#beliefs.isHearing) await this.inner.delete(scope, [key], {})
    return undefined
  }
}

function stamped(entry: CacheEntry, heardUpTo: string): CacheEntry {
  const { createdAt, expiresAt, computeMicros } = entry
  const fields = { createdAt, expiresAt, computeMicros, details: { ...entry.details, heardUpTo } }
  return isStreamed(entry) ? new StreamedEntry(entry.payload, fields) : new CacheEntry(entry.value, entry.encoded, fields)
}
