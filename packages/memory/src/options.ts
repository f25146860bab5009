import { checkKnown, type Isolation } from '@thermocline/backend'
import type { Quota } from './eviction-order.js'

export interface MemoryBackendOptions {
  /** The most entries of all tenants. Default: no limit. */
  readonly maxEntries?: number | undefined
  /**
   * The most bytes of all tenants. A value counts an estimate of what it takes on the heap, within a factor of two for what is data; bytes
   * and text that were encoded for another tier count as many bytes. Keys and bookkeeping, some 200 bytes an
   * entry, are not counted. Default 256 MiB, or no limit when `maxEntries` is given.
   */
  readonly maxBytes?: number | undefined
  /** How values are protected from whoever receives them; see {@link Isolation}. Default `share`. */
  readonly isolation?: Isolation | undefined
  /** The most of one tenant. A number limits bytes, or entries when `maxEntries` is the only global limit given. Default: none. */
  readonly tenantQuota?: number | Quota | undefined
}

export interface CheckedOptions {
  readonly maxEntries: number
  readonly maxBytes: number
  readonly isolation: Isolation
  readonly quota: Quota
}

const DEFAULT_MAX_BYTES = 256 * 1024 ** 2
const ISOLATIONS: readonly unknown[] = ['share', 'freeze', 'clone']

const OPTIONS: readonly (keyof MemoryBackendOptions)[] = ['maxEntries', 'maxBytes', 'isolation', 'tenantQuota']
const QUOTA: readonly (keyof Quota)[] = ['maxEntries', 'maxBytes']

/** @throws TypeError that names the option, the value and the rule, and for an option that nobody would read */
export function checkOptions(options: MemoryBackendOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw new TypeError(`new MemoryBackend(options): options must be an object, not ${options === null ? 'null' : typeof options}`)
  checkKnown(options, OPTIONS, 'new MemoryBackend(options)')
  const { maxEntries, maxBytes, isolation = 'share' } = options
  if (!ISOLATIONS.includes(isolation)) throw new TypeError(`isolation must be 'share', 'freeze' or 'clone', not ${typeof isolation === 'string' ? JSON.stringify(isolation) : typeof isolation}`)
  return {
    maxEntries: limit(maxEntries, 'maxEntries') ?? Number.POSITIVE_INFINITY,
    maxBytes: limit(maxBytes, 'maxBytes') ?? (maxEntries === undefined ? DEFAULT_MAX_BYTES : Number.POSITIVE_INFINITY),
    isolation,
    quota: checkQuota(options),
  }
}

function checkQuota({ tenantQuota, maxEntries, maxBytes }: MemoryBackendOptions): Quota {
  if (tenantQuota === undefined) return {}
  if (typeof tenantQuota === 'number') {
    const checked = limit(tenantQuota, 'tenantQuota')
    return maxEntries !== undefined && maxBytes === undefined ? { maxEntries: checked } : { maxBytes: checked }
  }
  if (typeof tenantQuota !== 'object' || tenantQuota === null) throw new TypeError(`tenantQuota must be a number or { maxEntries, maxBytes }, not ${typeof tenantQuota}`)
  checkKnown(tenantQuota, QUOTA, 'tenantQuota')
  return { maxEntries: limit(tenantQuota.maxEntries, 'tenantQuota.maxEntries'), maxBytes: limit(tenantQuota.maxBytes, 'tenantQuota.maxBytes') }
}

function limit(value: number | undefined, option: string): number | undefined {
  if (value === undefined || value === Number.POSITIVE_INFINITY) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value
  throw new TypeError(`${option} must be a positive whole number, not ${typeof value === 'number' ? value : typeof value}`)
}
