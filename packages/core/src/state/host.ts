import type { Clock, Isolation } from '@thermocline/backend'
import type { Payloads } from '../codec/payloads.js'
import type { CodecTable } from '../codec/standard.js'
import type { PolicyTable } from '../policies/policy-table.js'
import type { Tier } from '../tiers/tier.js'
import type { Background } from './background.js'
import type { Events } from './events.js'
import type { LogFields } from './log.js'
import type { TenantRegistry, TenantState } from './tenant-state.js'

/** What a failure is about, as far as it is known. */
export interface Failure {
  readonly operation: string
  readonly tier?: Tier | undefined
  readonly state?: TenantState | undefined
  readonly key?: string | undefined
}

/** What the engine's parts need of it. */
export interface EngineHost {
  readonly clock: Clock
  readonly tiers: readonly Tier[]
  readonly policies: PolicyTable
  readonly codecs: CodecTable
  readonly payloads: Payloads
  readonly isolation: Isolation
  readonly tenants: TenantRegistry
  readonly events: Events
  readonly background: Background
  readonly closed: boolean
  /** Makes a failure visible that no caller is told of. */
  report(thrown: unknown, about: Failure): void
  /** Less is owed than before, or less waits to be written back. */
  progressed(): void
  /** Logs what a person should see once. */
  warnOnce(topic: string, message: string, fields?: LogFields): void
}
