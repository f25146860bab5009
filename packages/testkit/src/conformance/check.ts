import type { Clock } from '@thermocline/backend'
import type { Bench } from '../bench.js'

/**
 * Declares a check: it gets a new and empty backend, which is closed afterwards.
 *
 * @param clock its host's; by default the system's
 */
export type Check = (title: string, body: (bench: Bench) => Promise<void>, clock?: Clock) => void
