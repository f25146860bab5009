import { Invalidation, type Coordination, type LogMessage, type OperationOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { AroundCompute, ComputeStep } from '../flights/compute-point.js'
import { LinePlace } from '../flights/line-place.js'
import { TransientMap } from '../flights/transient-map.js'
import { applyFromElsewhere } from '../invalidation/invalidate.js'
import type { AgreementHost, Operation, OperationHost, ReadOperation } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import type { TierAgreement } from '../tiers/agreement.js'
import type { Tier } from '../tiers/tier.js'
import { Hearing, type HearingStats } from './hearing.js'
import { randomId, Speaker, type Message } from './messages.js'
import { Question } from './question.js'
import { RecentInvalidations } from './recent.js'
import type { Trust } from './trust.js'
import { Turns } from './turns.js'

/** A removal whose end nobody has told of is over after so long: whoever carried it out has ended. */
const LONGEST_REMOVAL_MS = 60_000

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
  /** What could not be told yet, by tenant and key. */
  readonly #untold = new TransientMap<string, { readonly scope: TenantScope; readonly key: ValidKey }>()
  readonly #recent: RecentInvalidations
  #tier: Tier | undefined

  constructor(options: AgreementOptions) {
    const { engine, coordination, trust, speaker } = options
    this.#options = options
    this.#recent = new RecentInvalidations(engine.clock)
    this.#turns = new Turns({ coordination, clock: engine.clock, ask: (operation, key, ask) => this.#ask(operation, key, ask), enter: (step) => this.#enter(engine.tenants.of(step.call.scope.tenant), step.call.key), wakeFor: (scope, key) => this.#wake(scope, key) })
    this.#hearing = new Hearing({
      coordination,
      clock: engine.clock,
      speaker,
      trust,
      hear: (message, id) => this.#hear(message, id),
      missed: (why) => this.#missed(why),
      changed: (isHearing, why) => {
        options.changed(isHearing, why)
        if (isHearing) void this.#tellUntold()
      },
      report: (error, operation) => engine.report(error, { operation, tier: this.#tier }),
      keepsForLater: options.keepsForLater,
    })
  }

  /** Begins to hear others. @param tier over which they agree */
  start(tier: Tier): void {
    this.#tier = tier
    this.#hearing.start()
  }

  async close(): Promise<void> {
    await this.#hearing.close()
    await this.#options.coordination.close()
    for (const end of this.#removals.values()) end()
    this.#removals.clear()
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

  isShared({ capabilities }: Tier): boolean {
    return capabilities.shared === true
  }

  entersBefore({ plan, isUse, line, want }: ReadOperation, position: number): boolean {
    if (position === 0 || line !== undefined || !isUse || want === 'head') return false
    const slot = plan.slots[position]
    if (slot === undefined || !this.isShared(slot.tier)) return false
    return plan.slots.slice(0, position).some(({ tier, promote, write }) => tier === this.#tier && promote && write !== 'demote')
  }

  async enter(operation: ReadOperation): Promise<void> {
    operation.line = await this.#enter(operation.state, operation.key)
  }

  async enterWithOwn(state: TenantState, key: ValidKey): Promise<LinePlace | undefined> {
    const place = await this.#enter(state, key)
    if (place === undefined || (await this.#hearing.caughtUp())) return place
    this.#leaveCall({ scope: state.scope, key, line: place })
    return undefined
  }

  leave({ state, key, line }: Operation): void {
    this.#leaveCall({ scope: state.scope, key, line })
  }

  before(state: TenantState, invalidation: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined {
    if (!tiers.some((tier) => tier !== this.#tier && this.isShared(tier))) return undefined
    const { coordination } = this.#options
    const { key, prefix = '' } = invalidation
    return this.#ask('empty', key, (options) => (key === undefined ? coordination.emptyUnder(state.scope, prefix, options) : coordination.empty(state.scope, [key], options)))
  }

  after(state: TenantState, { key }: Invalidation, tiers: readonly Tier[]): Promise<unknown> | undefined {
    // over its own tier others are told with the removal itself; a clear goes to all tiers
    if (key === undefined || (tiers.includes(this.#tier as Tier) && !tiers.some((tier) => tier !== this.#tier && this.isShared(tier)))) return undefined
    return this.#announce(state.scope, key)
  }

  announcement(scope: TenantScope, invalidation: Invalidation): LogMessage {
    const { key } = invalidation
    this.#recent.add(scope, invalidation)
    return this.#options.speaker.say({ kind: 'key', tenant: scope.tenant, key: key as ValidKey })
  }

  async removing(scope: TenantScope, prefixes: readonly string[]): Promise<() => Promise<unknown>> {
    const { coordination, speaker } = this.#options
    const of = randomId()
    for (const prefix of prefixes) this.#recent.add(scope, Invalidation.ofPrefix(prefix))
    const tell = async (kind: 'begin' | 'end'): Promise<void> => {
      for (const prefix of prefixes) await this.#askOrFail('clear', (options) => coordination.append(speaker.say({ kind, tenant: scope.tenant, prefix, of }), options))
    }
    await tell('begin')
    for (const prefix of prefixes) await this.#askOrFail('clear', (options) => coordination.emptyUnder(scope, prefix, options))
    return () => tell('end')
  }

  async #around<T>(step: ComputeStep<T>): Promise<T> {
    const { call, flight } = step
    if (!call.isShared) return step.make()
    const state = this.#options.engine.tenants.of(call.scope.tenant)
    if (call.isForced) await this.#ask('empty', call.key, (options) => this.#options.coordination.empty(call.scope, [call.key], options))
    if (call.line?.isHeld !== true) call.line = await this.#enter(state, call.key)
    if (call.line === undefined) return step.make() // it cannot be asked for: what is made stays with this process
    let end = (): void => undefined
    const over = (): void => {
      end()
      this.#leaveCall(call)
    }
    try {
      const found = await this.#turns.wait(step)
      if (found !== undefined) {
        over()
        return found
      }
      flight.throwIfAborted()
      end = this.#turns.holding(call)
      const made = await step.make()
      step.stored(made).then(over, over)
      return made
    } catch (error) {
      over()
      throw error
    }
  }

  #leaveCall({ scope, key, line }: Pick<ComputeStep<unknown>['call'], 'scope' | 'key' | 'line'>): void {
    if (line?.isHeld !== true) return
    line.isHeld = false
    void this.#ask('leave', key, (options) => this.#options.coordination.leave(scope, key, line.token, line.wake, options))
  }

  async #enter(state: TenantState, key: ValidKey): Promise<LinePlace | undefined> {
    const token = randomId()
    const { scope } = state
    const line = await this.#ask('enter', key, (options) => this.#options.coordination.enter(scope, key, token, options))
    return line && new LinePlace(token, this.#wake(scope, key), line, () => void this.#withdraw(state, key))
  }

  #wake(scope: TenantScope, key: ValidKey): LogMessage {
    return this.#options.speaker.say({ kind: 'wake', tenant: scope.tenant, key })
  }

  /** What was stored here was not stored where others read it: it is older than what they have. */
  async #withdraw(state: TenantState, key: ValidKey): Promise<void> {
    await this.#apply(state, Invalidation.ofKey(key, 'elsewhere'))
  }

  async #apply(state: TenantState, invalidation: Invalidation, told?: string): Promise<void> {
    const { engine } = this.#options
    try {
      await applyFromElsewhere(engine, state, invalidation, told)
    } catch (error) {
      engine.report(error, { operation: 'invalidate', state, key: invalidation.key })
    }
  }

  #hear(message: Message, id: string): Promise<void> | undefined {
    if (message.kind === 'beat') return undefined
    const { engine } = this.#options
    const state = engine.tenants.of(message.tenant)
    if (message.kind === 'wake') {
      this.#turns.woken(state.scope, message.key)
      return undefined
    }
    if (message.kind === 'key') {
      this.#turns.woken(state.scope, message.key)
      const applied = this.#apply(state, Invalidation.ofKey(message.key, 'elsewhere'), id)
      if (engine.events.wants('invalidated')) engine.events.emit('invalidated', { tenant: state.tenant, key: message.key })
      return applied
    }
    const invalidation = Invalidation.ofPrefix(message.prefix, 'elsewhere')
    if (message.kind === 'begin') this.#hold(state, invalidation, message.of)
    else this.#removals.get(message.of)?.()
    if (message.kind === 'end' && engine.events.wants('invalidated')) engine.events.emit('invalidated', { tenant: state.tenant, prefix: message.prefix })
    return this.#apply(state, invalidation)
  }

  /** While another process removes something, nothing that is read meanwhile is kept: it may be what goes. */
  #hold(state: TenantState, invalidation: Invalidation, of: string): void {
    const release = state.invalidating(invalidation)
    const cancel = this.#options.engine.clock.schedule(LONGEST_REMOVAL_MS, () => end(), { background: true })
    const end = (): void => {
      cancel()
      if (this.#removals.delete(of)) release()
    }
    this.#removals.get(of)?.()
    this.#removals.set(of, end)
  }

  #missed(why: string): void {
    const { engine } = this.#options
    engine.tenants.detachAll()
    // it may be another server, which has not heard of them
    for (const { scope, invalidation } of this.#recent.take()) void this.#tier?.queues.invalidate(scope, invalidation)
    this.#options.missed(`tier ${this.#tier?.name}: ${why}; nothing that this process has kept itself is served any more`)
  }

  async #announce(scope: TenantScope, key: ValidKey): Promise<void> {
    const id = `${scope.tenant}\0${key}`
    const told = await this.#ask('announce', key, async (options) => {
      await this.#options.coordination.announce(scope, key, this.announcement(scope, Invalidation.ofKey(key)), options)
      return true
    })
    if (told === true) this.#untold.delete(id)
    else this.#untold.set(id, { scope, key })
  }

  async #tellUntold(): Promise<void> {
    for (const { scope, key } of [...this.#untold.values()]) await this.#announce(scope, key)
  }

  /** Asks the store, unless its tier is away. `undefined`: it could not be asked. */
  async #ask<T>(operation: string, key: ValidKey | undefined, ask: (options: OperationOptions) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#askOrFail(operation, ask)
    } catch (error) {
      this.#options.engine.report(error, { operation, tier: this.#tier, key })
      return undefined
    }
  }

  /** The same, rejecting with why it could not be asked. */
  async #askOrFail<T>(operation: string, ask: (options: OperationOptions) => Promise<T>): Promise<T> {
    const { breaker } = this.#tier as Tier
    if (breaker.isOpen('write')) throw breaker.refusal('write')
    try {
      return await new Question(this.#tier as Tier).answer(operation, ask)
    } catch (error) {
      breaker.failed('write', error, 0)
      throw error
    }
  }
}
