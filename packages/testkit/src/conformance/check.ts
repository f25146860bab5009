import type { Clock } from '@thermocline/backend'
import type { Bench } from '../bench.js'

/**
 * What not every store has, or not every test can bring about:
 *
 * - `streams`: `capabilities.streams`
 * - `reopening`: `capabilities.durable`, and the subject has `reopen`
 * - `payload limit`: `capabilities.maxPayloadBytes` of at most 64 MiB
 * - `room`: `stats` tells a limit, of at most 10,000 entries or 64 MiB
 * - `damage`: the subject has `damage`
 * - `outage`: the subject has `fail`
 */
export type Feature = 'streams' | 'reopening' | 'payload limit' | 'room' | 'damage' | 'outage'

export interface CheckOptions {
  /** The host's. Default: the system's. */
  readonly clock?: Clock | undefined
  /** Without any of these the check does not apply. */
  readonly needs?: readonly Feature[] | undefined
}

/** Declares a check: it gets a new and empty backend, which is closed afterwards. */
export type Check = (title: string, body: (bench: Bench) => Promise<void>, options?: CheckOptions) => void
