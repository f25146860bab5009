import type { Isolation } from '@thermocline/backend'
import { choice, map, size, ttl, wholeNumber } from '../schema/fields.js'
import { isRecord } from '../schema/json-schema.js'
import { bytesOf } from '../schema/size.js'
import type { BuiltIn } from './built-in-adapter.js'

interface MemoryConfig {
  readonly max_entries?: number
  readonly max_size?: number | string
  readonly max_size_mb?: number
  readonly isolation?: Isolation
  readonly tenant_quota?: number | string | { readonly max_entries?: number; readonly max_size?: number | string }
}

export const memory: BuiltIn = {
  packageName: '@thermocline/memory',
  className: 'MemoryBackend',
  configSchema: map(
    'Values in the memory of the process.',
    {
      max_entries: wholeNumber('The most entries of all tenants. Default: no limit.', 1),
      max_size: size('The most bytes of all tenants, in bytes or as text such as 512mb. Default: 256mb, or no limit when max_entries is given.'),
      max_size_mb: { type: 'number', exclusiveMinimum: 0, maximum: 2 ** 32, description: 'The same in units of 1,048,576 bytes.' },
      isolation: choice('How values are protected from whoever receives them.', ['share', 'freeze', 'clone'], 'share'),
      tenant_quota: {
        ...map('The most of one tenant: bytes (entries when max_entries is the only limit), text such as 32mb, or both limits. Default: none.', {
          max_entries: wholeNumber('The most entries of one tenant.', 1),
          max_size: size('The most bytes of one tenant.'),
        }),
        type: ['integer', 'string', 'object'],
        bytes: 1,
        expected: "a whole number, text with a unit such as '32mb', or a map of max_entries and max_size",
      },
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { exclusive: ['max_size', 'max_size_mb'] },
  ),
  options(config) {
    const { max_entries: maxEntries, max_size, max_size_mb, isolation, tenant_quota } = config as MemoryConfig
    return {
      maxEntries,
      maxBytes: max_size_mb === undefined ? bytesOf(max_size) : Math.max(1, Math.floor(max_size_mb * 1024 ** 2)),
      isolation,
      tenantQuota: quotaOf(tenant_quota),
    }
  },
}

function quotaOf(quota: MemoryConfig['tenant_quota']): unknown {
  if (typeof quota === 'string') return { maxBytes: bytesOf(quota) }
  return isRecord(quota) ? { maxEntries: quota.max_entries, maxBytes: bytesOf(quota.max_size) } : quota
}
