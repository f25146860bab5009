import { Invalidation, type CacheError, type Coordination, type LogMessage, type OperationOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { AroundCompute, ComputeStep } from '../flights/compute-point.js'
import { LinePlace } from '../flights/line-place.js'
import { applyFromElsewhere, type Heard } from '../invalidation/invalidate.js'
import type { AgreementHost, Operation, OperationHost, ReadOperation } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import type { TierAgreement } from '../tiers/agreement.js'
import type { Tier } from '../tiers/tier.js'
import { Hearing, isRefused, type HearingStats } from './hearing.js'
import { randomId, Speaker, type Message } from './messages.js'
import { Question } from './question.js'
import { RecentInvalidations } from './recent.js'
import type { Trust } from './trust.js'
import { Turns } from './turns.js'
import { Unleft, type Place } from './unleft.js'
import { Untold } from './untold.js'

/** A removal whose end nobody has told of is over after so long: whoever carried it out has ended. */
const LONGEST_REMOVAL_MS = 60_000
/** What was told so long before a beat that was read, and has not been read itself, is lost. */
const SURELY_LOST_MS = 5000

/** Where the store is asked while its tier is left out: nowhere; where it is only full, by what makes room; or always, by what knows that it answers. */
type Despite = 'nothing' | 'full' | 'open'

export interface AgreementOptions {
  readonly engine: OperationHost
  readonly coordination: Coordination
  readonly trust: Trust
  readonly speaker: Speaker
  /** Others are heard from now on, or not any more. */
  readonly changed: (isHearing: boolean, why: string | undefined) => void
  /** Whether a tier of the process's own outlives it. */
  readonly keepsForLater: boolean
  /** Something that others said was missed. */
  readonly missed: (what: string) => void
  /** The store does not allow it: from now on it is as without. */
  readonly gaveUp: (error: CacheError) => void
}

/**
 * What the processes that share a tier agree about: who makes a key's value, what may be stored there, and what is not to be served any more.
 */
export class Agreement implements AgreementHost, TierAgreement {
  readonly #options: AgreementOptions
  readonly #hearing: Hearing
  readonly #turns: Turns
  /** Removals that others carry out, until they have told of the end. */
  readonly #removals = new Map<string, () => void>()
  readonly #untold: Untold
  readonly #unleft: Unleft
  readonly #recent: RecentInvalidations
  #tier: Tier | undefined
  #refusal: CacheError | undefined

  constructor(options: AgreementOptions) {
    const { engine, coordination, trust, speaker } = options
    this.#options = options
    this.#recent = new RecentInvalidations(engine.clock)
    this.#untold = new Untold((scope, invalidation) => this.#tell(scope, invalidation))
    this.#unleft = new Unleft((place, isAnswering) => this.#leave(place, isAnswering ? 'open' : 'nothing'))
    this.#turns = new Turns({ coordination, leave: (place) => void this.#unleft.leaveNow(place), clock: engine.clock, ask: (operation, key, ask) => this.#ask(operation, key, ask) })
    this.#hearing = new Hearing({
      coordination,
      clock: engine.clock,
      speaker,
      trust,
      hear: (message, id, isRepeated) => this.#hear(message, id, isRepeated),
      heardOwn: (message, id) => {
        if (message.kind === 'key') this.#recent.heard(engine.tenants.of(message.tenant).scope, Invalidation.ofKey(message.key), id)
        else if (message.kind === 'end') this.#recent.heard(engine.tenants.of(message.tenant).scope, Invalidation.ofPrefix(message.prefix), id)
      },
      upToDate: (sentAt) => {
        this.#applyAgain(this.#recent.takeUnheard(sentAt - SURELY_LOST_MS))
        void this.#untold.tell()
        void this.#unleft.leave()
      },
      beginsToHear: (isFirst) => {
        if (!isFirst) engine.tenants.beginHearing()
        this.#recent.begun()
      },
      distrust: () => {
        engine.tenants.detachAll()
        for (const { fallback } of engine.tiers) fallback?.drop()
      },
      missed: (why, isLost) => {
        options.missed(`tier ${this.#tier?.name}: ${why}; nothing that this process has kept itself is served any more`)
        if (isLost) this.#applyAgain(this.#recent.takeAll())
      },
      changed: options.changed,
      report: (error, operation) => engine.report(error, { operation, tier: this.#tier }),
      refused: (error) => this.#giveUp(error),
      keepsForLater: options.keepsForLater,
    })
  }

  /** Begins to hear others. @param tier over which they agree */
  start(tier: Tier): void {
    this.#tier = tier
    this.#hearing.start()
  }

  get isOn(): boolean {
    return this.#refusal === undefined
  }

  /** Why it is off. */
  get refusal(): string | undefined {
    return this.#refusal?.message
  }

  async close(): Promise<void> {
    this.#hearing.close()
    await this.#options.coordination.close()
    await this.#hearing.ended()
    for (const end of [...this.#removals.values()]) end()
  }

  get isHearing(): boolean {
    return this.#hearing.isHearing
  }

  get stats(): HearingStats {
    return this.#hearing.stats
  }

  /** What others are still to be told. */
  get untold(): number {
    return this.#untold.size
  }

  /** Puts the agreement about who makes a value around every compute. */
  readonly around: AroundCompute = (step) => this.#around(step)

  entersBefore({ plan, isUse, line, want }: ReadOperation, position: number): boolean {
    if (position === 0 || line !== undefined || !isUse || want === 'head' || !this.isOn) return false
    const slot = plan.slots[position]
    if (slot === undefined || !slot.tier.isShared) return false
    return plan.slots.slice(0, position).some(({ tier, promote, write }) => tier === this.#tier && promote && write !== 'demote')
  }

  async enter(operation: ReadOperation): Promise<void> {
    operation.line = await this.#enter(operation.state.scope, operation.key)
  }

  async enterWithOwn(state: TenantState, key: ValidKey): Promise<LinePlace | undefined> {
    const place = await this.#enter(state.scope, key)
    if (place === undefined || (await this.#hearing.caughtUp())) return place
    place.release()
    return undefined
  }

  leave(operation: Pick<Operation, 'line'>): void {
    const { line } = operation
    operation.line = undefined
    line?.release()
  }

  before(state: TenantState, invalidation: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined {
    if (!this.#concernsOthers(tiers)) return undefined
    const { coordination } = this.#options
    const { key, prefix = '' } = invalidation
    return this.#ask('empty', key, (options) => (key === undefined ? coordination.emptyUnder(state.scope, prefix, options) : coordination.empty(state.scope, [key], options)))
  }

  after(state: TenantState, invalidation: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined {
    // over its own tier others are told with the change itself, and a clear goes to all tiers
    if (invalidation.key === undefined || !this.#concernsOthers(tiers)) return undefined
    return this.#untold.tellNow(state.scope, invalidation)
  }

  announcement(scope: TenantScope, invalidation: Invalidation): LogMessage {
    return this.#options.speaker.say({ kind: 'key', tenant: scope.tenant, key: invalidation.key as ValidKey })
  }

  telling(scope: TenantScope, invalidation: Invalidation, { id }: LogMessage): () => void {
    return this.#recent.add(scope, invalidation, id)
  }

  async removing(scope: TenantScope, prefixes: readonly string[]): Promise<() => Promise<unknown>> {
    const { coordination, speaker } = this.#options
    const of = randomId()
    const said = prefixes.map((prefix) => {
      const say = (kind: 'begin' | 'end'): LogMessage => speaker.say({ kind, tenant: scope.tenant, prefix, of })
      return { prefix, begin: say('begin'), end: say('end') }
    })
    const sent = said.map(({ prefix, end }) => this.#recent.add(scope, Invalidation.ofPrefix(prefix), end.id, true))
    const tell = async (what: 'begin' | 'end'): Promise<void> => {
      for (const message of said) await this.#askOrFail('clear', (options) => coordination.append(message[what], options), 'full')
    }
    try {
      await tell('begin')
      for (const prefix of prefixes) await this.#askOrFail('clear', (options) => coordination.emptyUnder(scope, prefix, options), 'full')
    } catch (error) {
      if (!isRefused(error)) throw error
      return () => Promise.resolve()
    }
    return async () => {
      try {
        await tell('end')
      } finally {
        for (const isSent of sent) isSent()
      }
    }
  }

  /** Whether other shared tiers are concerned than the one over which processes agree. */
  #concernsOthers(tiers: readonly Tier[]): boolean {
    return this.isOn && tiers.some((tier) => tier !== this.#tier && tier.isShared)
  }

  async #around<T>(step: ComputeStep<T>): Promise<T> {
    const { call, flight } = step
    if (!this.isOn || !call.isKeptForOthers) {
      this.leave(call)
      return step.make()
    }
    if (call.isForced) await this.#ask('empty', call.key, (options) => this.#options.coordination.empty(call.scope, [call.key], options))
    if (call.line?.isHeld !== true) call.line = await this.#enter(call.scope, call.key)
    if (call.line === undefined) return step.make() // it cannot be asked for: what is made stays with this process
    let end = (): void => undefined
    const over = (): void => {
      flight.gaveUp = undefined
      end()
      this.leave(call)
    }
    flight.gaveUp = over // what it still makes is stored nowhere
    try {
      const found = await this.#turns.wait(step)
      if (found !== undefined) {
        over()
        return found
      }
      flight.throwIfAborted()
      end = this.#turns.holding(call, flight)
      const made = await step.make()
      step.stored(made).then(over, over)
      return made
    } catch (error) {
      over()
      throw error
    }
  }

  async #enter(scope: TenantScope, key: ValidKey): Promise<LinePlace | undefined> {
    const { coordination, speaker } = this.#options
    const token = randomId()
    const wake = speaker.say({ kind: 'wake', tenant: scope.tenant, key })
    const place = { scope, key, token, wake }
    let isAwaited = true
    const line = await this.#ask('enter', key, (options) => {
      const entered = coordination.enter(scope, key, token, options)
      entered.then(() => (isAwaited ? undefined : this.#unleft.leaveNow(place)), () => this.#unleft.owe(place)) // nobody makes anything in a place that came too late
      return entered
    })
    isAwaited = false
    return line && new LinePlace(token, wake, line, () => void this.#withdraw(scope, key), () => void this.#unleft.leaveNow(place))
  }

  async #leave({ scope, key, token, wake }: Place, despite: Despite): Promise<boolean> {
    const { coordination } = this.#options
    return (await this.#ask('leave', key, async (options) => (await coordination.leave(scope, key, token, wake, options), true), despite)) === true
  }

  /** What was stored here was not stored where others read it: it is older than what they have. */
  async #withdraw(scope: TenantScope, key: ValidKey): Promise<void> {
    await this.#apply(this.#options.engine.tenants.of(scope.tenant), Invalidation.ofKey(key, 'elsewhere'))
  }

  async #apply(state: TenantState, invalidation: Invalidation, heard?: Partial<Heard>): Promise<void> {
    const { engine } = this.#options
    try {
      await applyFromElsewhere(engine, state, invalidation, heard)
    } catch (error) {
      engine.report(error, { operation: 'invalidate', state, key: invalidation.key })
    }
  }

  #hear(message: Message, id: string, isRepeated: boolean): Promise<void> | undefined {
    if (message.kind === 'beat') return undefined
    const { engine } = this.#options
    const state = engine.tenants.of(message.tenant)
    if (message.kind === 'wake') {
      this.#turns.woken(state.scope, message.key)
      return undefined
    }
    if (message.kind === 'key') {
      this.#turns.woken(state.scope, message.key)
      const applied = this.#apply(state, Invalidation.ofKey(message.key, 'elsewhere'), { told: id, isRepeated })
      if (!isRepeated && engine.events.wants('invalidated')) engine.events.emit('invalidated', { tenant: state.tenant, key: message.key })
      return applied
    }
    const invalidation = Invalidation.ofPrefix(message.prefix, 'elsewhere')
    const removal = `${message.of}\0${message.prefix}`
    if (message.kind === 'begin') this.#hold(state, invalidation, removal)
    else this.#removals.get(removal)?.()
    if (message.kind === 'end' && !isRepeated && engine.events.wants('invalidated')) engine.events.emit('invalidated', { tenant: state.tenant, prefix: message.prefix })
    return this.#apply(state, invalidation, { told: id, isRepeated })
  }

  /** While another process removes something, nothing that is read meanwhile is kept: it may be what goes. */
  #hold(state: TenantState, invalidation: Invalidation, removal: string): void {
    this.#removals.get(removal)?.()
    const release = state.invalidating(invalidation)
    const cancel = this.#options.engine.clock.schedule(LONGEST_REMOVAL_MS, () => end(), { background: true })
    const end = (): void => {
      cancel()
      if (this.#removals.delete(removal)) release()
    }
    this.#removals.set(removal, end)
  }

  /** Carries out again what a server may not have heard of that has taken the place of another. */
  #applyAgain(told: readonly { readonly scope: TenantScope; readonly invalidation: Invalidation }[]): void {
    if (!this.#options.coordination.losesEntries) return
    for (const { scope, invalidation } of told) {
      void this.#tier?.queues.invalidate(scope, invalidation)
      // nobody else has what was set; what waits to be written back may be just that
      void this.#apply(this.#options.engine.tenants.of(scope.tenant), Invalidation.of(invalidation.data, 'elsewhere'), { isRepeated: true })
    }
  }

  /** Tells of what has changed in other shared tiers. False: it could not be told. */
  async #tell(scope: TenantScope, invalidation: Invalidation): Promise<boolean> {
    const { coordination } = this.#options
    const { key, prefix = '' } = invalidation
    if (key !== undefined) {
      const message = this.announcement(scope, invalidation)
      const sent = this.telling(scope, invalidation, message)
      const isTold = await this.#ask('announce', key, async (options) => (await coordination.announce(scope, key, message, options), true))
      sent()
      return isTold === true
    }
    try {
      const end = await this.removing(scope, [prefix])
      await end()
      return true
    } catch {
      return false
    }
  }

  /** From now on it is as without coordination: nobody can be told, nor asked. */
  #giveUp(error: CacheError): void {
    if (!this.isOn) return
    this.#refusal = error
    this.#options.trust.giveUp()
    void this.close()
    this.#options.gaveUp(error)
  }

  /** Asks the store, unless its tier is away. `undefined`: it could not be asked. */
  async #ask<T>(operation: string, key: ValidKey | undefined, ask: (options: OperationOptions) => Promise<T>, despite: Despite = 'nothing'): Promise<T | undefined> {
    try {
      return await this.#askOrFail(operation, ask, despite)
    } catch (error) {
      if (!isRefused(error)) this.#options.engine.report(error, { operation, tier: this.#tier, key })
      return undefined
    }
  }

  /** The same, rejecting with why it could not be asked. */
  async #askOrFail<T>(operation: string, ask: (options: OperationOptions) => Promise<T>, despite: Despite): Promise<T> {
    const tier = this.#tier as Tier
    const { breaker } = tier
    if (breaker.isOpen('write') && despite !== 'open' && !(despite === 'full' && breaker.deletesPass)) throw breaker.refusal('write')
    try {
      const answer = await new Question(tier, this.#options.engine.clock).answer(operation, ask)
      breaker.succeeded('write')
      if (this.#unleft.size > 0) void this.#unleft.leave()
      return answer
    } catch (error) {
      if (isRefused(error)) this.#giveUp(error)
      else breaker.failed('write', error, 0)
      throw error
    }
  }
}
