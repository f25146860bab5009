import { choice, filePath, flag, interval, map, size, ttl } from '../schema/fields.js'
import { bytesOf } from '../schema/size.js'
import type { BuiltIn } from './built-in-adapter.js'

interface LocalConfig {
  readonly base_path: string
  readonly max_size?: number | string
  readonly max_size_gb?: number
  readonly cleanup_interval?: number | string
  readonly max_buffered?: number | string
  readonly access?: 'private' | 'group'
  readonly fsync?: boolean
}

/** What directories and bookkeeping alone take; the adapter accepts no lower limit. */
const LEAST_BYTES = 64 * 1024

export const local: BuiltIn = {
  packageName: '@thermocline/fs',
  className: 'FileSystemBackend',
  configSchema: map(
    'Files in a local directory.',
    {
      base_path: filePath('An existing or new directory, relative to the working directory; `~` is the home directory. Only <base_path>/thermocline/ is used.'),
      max_size: size('The most bytes on the disk, in bytes or as text such as 10gb. Default: no limit.', LEAST_BYTES),
      max_size_gb: {
        type: 'number',
        minimum: LEAST_BYTES / 1024 ** 3,
        maximum: 2 ** 22,
        expected: `a number of gigabytes, at least ${LEAST_BYTES} bytes and at most ${2 ** 22} gigabytes`,
        description: 'The same in units of 1,073,741,824 bytes; decimals are fine.',
      },
      cleanup_interval: interval('How often expired entries and leftovers of crashed writes are removed.', { default: '1h' }),
      max_buffered: size('The largest stored entry that is read into memory whole; a larger one can be read as a stream only.', 1, { default: '1gb' }),
      access: choice('Who may read and change the files: the user of the process alone, or its group too, for processes of several users that share the directory.', ['private', 'group'], 'private'),
      fsync: flag('Whether a write is on the disk before it counts: survives power loss.', false),
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { required: ['base_path'], exclusive: ['max_size', 'max_size_gb'] },
  ),
  options(config) {
    const { base_path: basePath, max_size, max_size_gb, cleanup_interval: cleanupInterval, max_buffered, access, fsync } = config as unknown as LocalConfig
    return { basePath, ...(max_buffered === undefined ? {} : { maxBufferedBytes: bytesOf(max_buffered) }), access, maxBytes: max_size_gb === undefined ? bytesOf(max_size) : Math.floor(max_size_gb * 1024 ** 3), cleanupInterval, fsync }
  },
}
