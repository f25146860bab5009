import { systemClock, type Clock } from '@thermocline/backend'
import type { Form } from './stamped.js'

/** How a call ended. `unanswered`: it has not. */
export type Outcome = 'resolved' | 'rejected' | 'unanswered'

/**
 * What every record has. Beginnings and ends are numbered in the order in which they happened (`...At`): all clients are in one process, so
 * that order is exact. Milliseconds of the monotonic clock are kept beside it, for what depends on time and for whoever reads.
 */
interface Recorded {
  /** Which manager, numbered as they were opened: one that is opened again on the same stores is another one. */
  readonly manager: number
  readonly client: number
  readonly verb: string
  /** Tiers that the call left out. */
  readonly without?: readonly string[] | undefined
  readonly tenant: string
  readonly calledAt: number
  readonly calledMs: number
  /** `Infinity` while it has no answer. */
  returnedAt: number
  returnedMs: number
  outcome: Outcome
  /** Why it rejected. */
  error: unknown
  /** It rejected because the client itself wanted that: its signal, its source, or its manager that was being closed. */
  isOwnDoing: boolean
}

/** What changes a key, as far as it is known what became of that. */
interface Applied {
  /** Whether every tier had applied it when it resolved. `undefined`: nobody has asked. False: it is owed, or may still land. */
  isApplied?: boolean | undefined
}

/** A value that is stored by `set`, `setMany` or `setStream`. */
export interface Write extends Recorded, Applied {
  readonly kind: 'write'
  readonly key: string
  readonly version: string
  readonly form: Form
  /** `Infinity`: for ever. */
  readonly ttlMs: number
  /** The earliest moment of its place in the order of calls: its call, or the end of its source for a stream (`Infinity`: not yet). */
  placedAt: number
  /** The latest instant at which its life may have begun, in epoch milliseconds. */
  bornBy: number
  /** Whether its source failed: then it changes nothing. */
  isBroken: boolean
}

/** A `delete`, `deleteMany` or `clear`. */
export interface Removal extends Recorded, Applied {
  readonly kind: 'removal'
  /** A `clear` has a prefix instead. */
  readonly key: string | undefined
  readonly prefix: string | undefined
}

/** What a read was answered. */
export type Answer =
  | { readonly is: 'miss' }
  /** `form` where the answer was a value, not a stream; `expiresAt` where it was told (`Infinity`: never). */
  | { readonly is: 'version'; readonly version: string; readonly form?: Form | undefined; readonly expiresAt?: number | undefined }
  /** There is something under the key. */
  | { readonly is: 'present' }
  /** Something that no client made, under this key of this tenant. */
  | { readonly is: 'wrong'; readonly rule: 'corrupt' | 'foreign'; readonly what: string }

export interface Read extends Recorded {
  readonly kind: 'read'
  readonly key: string
  /** Of the clock's `recent()` when it was called, in epoch milliseconds: what was over by then must not be served. */
  readonly recentMs: number
  /** Whether a tier was asked that other managers cannot invalidate. */
  readonly asksOwnTiers: boolean
  answer: Answer | undefined
  /** Whether the reader left before the end, or by its signal: a compute without readers may begin anew. */
  hasLeft: boolean
}

/** A compute function that ran. */
export interface Computed extends Recorded {
  readonly kind: 'computed'
  readonly key: string
  readonly version: string
  readonly form: Form
  readonly ttlMs: number
  /** The call that began the flight. */
  readonly starter: Read
  bornBy: number
}

/** Something was wrong with a server or a disk. */
export interface FaultSpan {
  readonly kind: 'fault'
  readonly name: string
  readonly calledAt: number
  readonly calledMs: number
  returnedAt: number
  returnedMs: number
}

/** A moment in which no call was under way, and no manager had anything left to do: no debts, no doubts, nothing in the background. */
export interface Settled {
  readonly kind: 'settled'
  readonly calledAt: number
  readonly calledMs: number
}

/** Something a manager told of: for whoever reads, no rule looks at it. */
export interface Note {
  readonly kind: 'note'
  readonly text: string
  /** Whose it is; `undefined`: it concerns all. */
  readonly tenant: string | undefined
  readonly key: string | undefined
  readonly calledAt: number
  readonly calledMs: number
}

export type Invalidation = Write | Removal
export type Origin = Write | Computed
export type HistoryRecord = Write | Removal | Read | Computed | FaultSpan | Settled | Note

type Given<R extends Recorded, K extends keyof R> = Pick<R, 'manager' | 'client' | 'verb' | 'without' | 'tenant' | K>

/** What happened, as it happens: every call with the instants of its beginning and its end. */
export class History {
  readonly records: HistoryRecord[] = []
  readonly clock: Clock
  readonly #startedMs: number
  #order = 0

  constructor(clock: Clock = systemClock) {
    this.clock = clock
    this.#startedMs = clock.monotonic()
  }

  write(given: Given<Write, 'key' | 'version' | 'form' | 'ttlMs'>): Write {
    const begun = this.#begun(given)
    const placedAt = given.verb === 'setStream' ? Number.POSITIVE_INFINITY : begun.calledAt
    return this.#keep({ ...begun, kind: 'write', placedAt, bornBy: Number.POSITIVE_INFINITY, isBroken: false })
  }

  removal(given: Given<Removal, 'key' | 'prefix'>): Removal {
    return this.#keep({ ...this.#begun(given), kind: 'removal' })
  }

  read(given: Given<Read, 'key' | 'asksOwnTiers'>): Read {
    return this.#keep({ ...this.#begun(given), kind: 'read', recentMs: this.clock.recent(), answer: undefined, hasLeft: false })
  }

  computed(starter: Read, given: Pick<Computed, 'version' | 'form' | 'ttlMs'>): Computed {
    const { manager, client, verb, tenant, key } = starter
    return this.#keep({ ...this.#begun({ manager, client, verb: `compute of ${verb}`, tenant, ...given }), kind: 'computed', key, starter, bornBy: Number.POSITIVE_INFINITY })
  }

  fault(name: string): FaultSpan {
    return this.#keep({ kind: 'fault', name, calledAt: ++this.#order, calledMs: this.#ms, returnedAt: Number.POSITIVE_INFINITY, returnedMs: Number.POSITIVE_INFINITY })
  }

  settled(): Settled {
    return this.#keep({ kind: 'settled', calledAt: ++this.#order, calledMs: this.#ms })
  }

  note(text: string, tenant?: string, key?: string): Note {
    return this.#keep({ kind: 'note', text, tenant, key, calledAt: ++this.#order, calledMs: this.#ms })
  }

  /** A streamed set's source has ended: from now on it may take its place. */
  sourceEnded(write: Write): void {
    write.placedAt = ++this.#order
  }

  /** The call, compute or fault has ended. */
  ended(record: Write | Removal | Read | Computed | FaultSpan, outcome: Outcome = 'resolved', error?: unknown): void {
    record.returnedAt = ++this.#order
    record.returnedMs = this.#ms
    if (record.kind === 'fault') return
    record.outcome = outcome
    record.error = error
    if (record.kind === 'write' && record.verb === 'setStream') record.bornBy = this.clock.now()
    if (record.kind === 'computed') record.bornBy = this.clock.now()
  }

  get #ms(): number {
    return this.clock.monotonic() - this.#startedMs
  }

  #begun<G>(given: G): G & Omit<Recorded, 'manager' | 'client' | 'verb' | 'tenant'> {
    return { ...given, calledAt: ++this.#order, calledMs: this.#ms, returnedAt: Number.POSITIVE_INFINITY, returnedMs: Number.POSITIVE_INFINITY, outcome: 'unanswered', error: undefined, isOwnDoing: false }
  }

  #keep<R extends HistoryRecord>(record: R): R {
    this.records.push(record)
    return record
  }
}
