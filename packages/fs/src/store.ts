import { Modes } from './access.js'
import { Descriptors } from './descriptors.js'
import { FileHosts } from './hosts.js'
import { layoutOf, type Layout } from './layout.js'
import type { CheckedOptions } from './options.js'
import { PathsInUse } from './paths-in-use.js'
import { Recency } from './recency.js'
import { Space } from './space.js'
import { Stuck } from './stuck.js'
import { Temporaries } from './temporaries.js'

/** What a limit leaves for one entry: directories and bookkeeping take the rest. */
const OVERHEAD_BYTES = 32 * 1024

/** One cache directory, and what those who read, write and sweep it share. */
export interface Store {
  readonly layout: Layout
  readonly fsync: boolean
  readonly modes: Modes
  /** The largest file that is read into memory. */
  readonly maxBufferedBytes: number
  /** The largest file that fits; without a limit infinite. */
  readonly maxFileBytes: number
  readonly hosts: FileHosts
  readonly descriptors: Descriptors
  /** What reads the disk has been given. */
  readonly reads: Stuck
  /** And what changes. */
  readonly writes: Stuck
  readonly recency: Recency
  readonly paths: PathsInUse
  readonly temporaries: Temporaries
  /** `undefined` without a limit. */
  readonly space: Space | undefined
}

/** Touches nothing on the disk. */
export function openStore({ basePath, maxBytes, maxBufferedBytes, fsync, access }: CheckedOptions): Store {
  const layout = layoutOf(basePath)
  const modes = new Modes(access)
  const hosts = new FileHosts()
  const descriptors = new Descriptors(layout.root)
  const writes = new Stuck()
  const recency = new Recency(() => hosts.clock, writes)
  const paths = new PathsInUse()
  const temporaries = new Temporaries(layout)
  const space = Number.isFinite(maxBytes) ? new Space({ layout, modes, temporaries, maxBytes, hosts, recency, paths, close: descriptors.close }) : undefined
  return { layout, fsync, modes, maxBufferedBytes, maxFileBytes: maxBytes - OVERHEAD_BYTES, hosts, descriptors, reads: new Stuck(), writes, recency, paths, temporaries, space }
}
