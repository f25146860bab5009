import { WrappedBackend, type Awaitable, type CacheBackend, type CacheEntry, type PutOptions, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'

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
  mark(): Mark
  believes(mark: Mark): boolean
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
export class OwnMemory extends WrappedBackend {
  readonly #beliefs: Beliefs
  #note: MarkNote | undefined

  constructor(inner: CacheBackend, beliefs: Beliefs) {
    super(inner)
    this.#beliefs = beliefs
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): CacheEntry | undefined {
    const entry = this.inner.get(scope, key, options) as CacheEntry | undefined
    return entry === undefined || this.#isBelieved(entry) ? entry : undefined
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
      if (taken !== undefined) taken.hitNote = this.#noteNow()
    }
    return stored
  }

  #isBelieved({ hitNote }: CacheEntry): boolean {
    const mark = (hitNote as KeepsMark | undefined)?.mark
    return mark !== undefined && this.#beliefs.believes(mark)
  }

  /** One note for all that come in at about the same time. */
  #noteNow(): MarkNote {
    const mark = this.#beliefs.mark()
    if (this.#note?.mark !== mark) this.#note = new MarkNote(mark)
    return this.#note
  }
}
