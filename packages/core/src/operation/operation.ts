import type { Span } from '@opentelemetry/api'
import type { CacheEntry, EpochMs, Invalidation, LogMessage, PutOptions, ReadOptions, TenantScope, ValidKey } from '@thermocline/backend'
import type { PayloadPlace } from '../codec/payload-step.js'
import type { ComputeContext } from '../flights/compute-context.js'
import type { AgreedCall, ComputePoint } from '../flights/compute-point.js'
import type { LinePlace } from '../flights/line-place.js'
import type { Plan } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import type { EngineHost } from '../state/host.js'
import type { Refreshes } from '../state/refreshes.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Telemetry } from '../telemetry/telemetry.js'
import type { WriteBack } from '../write-back/write-back.js'
import type { Found } from './found.js'
import type { EntryWishes } from './terms.js'

/** What operations need where processes agree over a tier. */
export interface AgreementHost {
  /** Whether what is found from this place on may go into the tier over which processes agree. */
  entersBefore(operation: ReadOperation, position: number): boolean
  /** Takes a place in the key's line, unless it cannot be had. */
  enter(operation: ReadOperation): Promise<void>
  /** The same for what this process keeps itself and is to be put into a shared tier: everything that others have said by then is carried out before. */
  enterWithOwn(state: TenantState, key: ValidKey): Promise<LinePlace | undefined>
  /** Lets go of a place that was not used. */
  leave(operation: Pick<Operation, 'line'>): void
  /** What others are told of a change of one key. */
  announcement(scope: TenantScope, invalidation: Invalidation): LogMessage
  /** To be done before the tiers are changed, where an invalidation concerns more shared tiers than one; `undefined`: nothing. */
  before(state: TenantState, invalidation: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined
  /** To be done when all shared tiers were changed, before the process's own are; `undefined`: nothing. */
  after(state: TenantState, invalidation: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined
}

/** What carries operations out needs of the engine. */
export interface OperationHost extends EngineHost {
  readonly enabled: boolean
  /** What was computed or read is not stored any more. */
  readonly stopped: boolean
  readonly telemetry: Telemetry
  readonly writeBack: WriteBack
  readonly computePoint: ComputePoint
  /** Where processes agree. */
  readonly agreement: AgreementHost | undefined
  /** Refreshes in the background. */
  readonly refreshes: Refreshes
  /** Streams that somebody reads or writes; close gives them up. */
  readonly streams: Set<{ abort(error: unknown): void }>
  /** Keeps track of a compute under way: close waits for it. */
  computing<T>(work: Promise<T>): Promise<T>
}

/** One call about one key, made once and handed to whatever carries it out: whose key it is, and the plan it follows. */
export class Operation {
  readonly engine: OperationHost
  readonly state: TenantState
  readonly key: ValidKey
  readonly plan: Plan
  /** Its place in the key's line, where processes agree. */
  line: LinePlace | undefined = undefined

  constructor(engine: OperationHost, state: TenantState, key: ValidKey, plan: Plan) {
    this.engine = engine
    this.state = state
    this.key = key
    this.plan = plan
  }

  /** Whether what becomes of the key is other processes' business: they read from a tier that it concerns. */
  get isShared(): boolean {
    const { slots, leftOut } = this.plan
    return this.engine.agreement !== undefined && (slots.some(({ tier }) => tier.isShared) || leftOut.some((tier) => tier.isShared))
  }

  /** What is known of an entry that comes from a tier of the process's own, or is made. @param from the tier; `undefined`: it is made */
  beliefOf(from?: Tier): PutOptions['belief'] {
    if (this.engine.agreement === undefined) return undefined
    return !this.isShared ? 'always' : from?.hearsOthers === true ? 'passed-on' : undefined
  }

  /** Whose payload it is. */
  get place(): PayloadPlace {
    return { tenant: this.state.tenant, key: this.key }
  }

  /** Makes a failure visible that the caller is not told of. */
  report(error: unknown, operation: string, tier?: Tier): void {
    const { state, key } = this
    this.engine.report(error, { operation, tier, state, key })
  }
}

/** What a read wants of a payload: the value made of it; nothing, as its head is enough; or a stream of its bytes, where the tier has streams. */
export type Want = 'value' | 'head' | 'stream'

/** A call that reads. */
export class ReadOperation extends Operation {
  readonly want: Want
  /** Whether it counts as a use: for recency and in the counts of each tier. */
  readonly isUse: boolean
  /** Whether a value that is not fresh any more is of use, as long as the plan's windows are open. */
  readonly takesStale: boolean
  /** When the entry was made that is to be made anew before its end: that one is of no use. */
  replaces: EpochMs | undefined = undefined

  constructor(engine: OperationHost, state: TenantState, key: ValidKey, plan: Plan, want: Want, isUse: boolean, takesStale = false) {
    super(engine, state, key, plan)
    this.want = want
    this.isUse = isUse
    this.takesStale = takesStale
  }

  /** Whether an entry whose ttl is over may be served at all. */
  mayServeStale(entry: CacheEntry, now: EpochMs): boolean {
    return this.takesStale && now - entry.staleAt < this.plan.freshness.windowMs
  }

  /** The same call once more, which is no use of its own. */
  again(): ReadOperation {
    return new ReadOperation(this.engine, this.state, this.key, this.plan, this.want, false)
  }

  /** Whether what was found is taken at once, without a look into slower tiers: where it is fresh, or served stale at once. */
  isContentWith(found: Found): boolean {
    return found.isStale ? this.servesAtOnce(found) : found.entry.createdAt !== this.replaces
  }

  protected servesAtOnce(_stale: Found): boolean {
    return false
  }

  /** How a tier is asked for it. */
  optionsFor(tier: Tier): ReadOptions {
    const { adopts } = this.plan.policy
    if (this.want === 'head') return adopts ? ADOPTING_LOOK : LOOK
    if (this.want === 'stream' && tier.capabilities.streams) return adopts ? ADOPTING_STREAM : STREAM
    return wholeOptions(adopts, this.isUse)
  }
}

/** How a call makes what it does not find. */
export interface Making<T> {
  readonly make: (context: ComputeContext) => T | Promise<T>
  readonly wishes: EntryWishes
  readonly span: Span
  readonly isForced?: boolean | undefined
  readonly mayLeaveOut?: boolean | undefined
}

/** A call that makes what it does not find. */
export class ComputeOperation<T = unknown> extends ReadOperation implements AgreedCall {
  /** The caller's function. */
  readonly make: (context: ComputeContext) => T | Promise<T>
  /** What is to be stored with it. */
  readonly wishes: EntryWishes
  /** Of the call; the compute's own hangs below it. */
  readonly span: Span
  /** It makes a new value, whatever is there. */
  readonly isForced: boolean
  /** Its function makes several, and may leave this one out. */
  readonly mayLeaveOut: boolean

  constructor(engine: OperationHost, state: TenantState, key: ValidKey, plan: Plan, want: 'value' | 'stream', { make, wishes, span, isForced = false, mayLeaveOut = false }: Making<T>) {
    super(engine, state, key, plan, want, true, plan.freshness.windowMs > 0)
    this.make = make
    this.wishes = wishes
    this.span = span
    this.isForced = isForced
    this.mayLeaveOut = mayLeaveOut
  }

  get scope(): TenantScope {
    return this.state.scope
  }

  get isKeptForOthers(): boolean {
    return this.engine.agreement !== undefined && this.plan.slots.some(({ tier, write }) => (write === 'through' || write === 'back') && tier.isShared)
  }

  get lockWaitMs(): number {
    return this.plan.freshness.lockWaitMs
  }

  /** The same call for a flight of its own that makes the value: that one ends by itself. Its place in the line goes there. @param replaces see there */
  forMaking(replaces?: EpochMs): ComputeOperation<T> {
    const { make, wishes, span, isForced, mayLeaveOut } = this
    const making = new ComputeOperation(this.engine, this.state, this.key, this.plan, this.want as 'value' | 'stream', { make, wishes, span, isForced, mayLeaveOut })
    making.line = this.line
    making.replaces = replaces
    this.line = undefined
    return making
  }

  /** The same call, for which only what is fresh will do. */
  forFresh(): ReadOperation {
    const fresh = new ReadOperation(this.engine, this.state, this.key, this.plan, this.want, true)
    fresh.line = this.line
    fresh.replaces = this.replaces
    return fresh
  }

  protected override servesAtOnce({ at, entry }: Found): boolean {
    return at - entry.staleAt < this.plan.freshness.revalidateMs
  }
}

/** How tiers are asked: for everything and as a use, without being one, for the head only, or for a stream. */
const USE: ReadOptions = { want: 'payload', touch: true }
const PASS: ReadOptions = { want: 'payload', touch: false }
const LOOK: ReadOptions = { want: 'head', touch: false }
const STREAM: ReadOptions = { want: 'stream', touch: true }
/** The same by policies that take other tools' objects for entries. */
const ADOPTING_USE: ReadOptions = { ...USE, adopt: true }
const ADOPTING_PASS: ReadOptions = { ...PASS, adopt: true }
const ADOPTING_LOOK: ReadOptions = { ...LOOK, adopt: true }
const ADOPTING_STREAM: ReadOptions = { ...STREAM, adopt: true }

/** How a tier is asked for whole payloads. */
export function wholeOptions(adopts: boolean, isUse: boolean): ReadOptions {
  if (adopts) return isUse ? ADOPTING_USE : ADOPTING_PASS
  return isUse ? USE : PASS
}
