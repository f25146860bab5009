import type { BackendHost, CacheError, Clock, ObjectNames } from '@thermocline/core'
import { systemClock } from '@thermocline/core'
import type { Connection } from './connection.js'
import type { CheckedOptions } from './options.js'

/** What the parts of one backend have in common. */
export class Shared {
  readonly options: CheckedOptions
  readonly bucket: string
  readonly names: ObjectNames
  readonly connection: Connection
  /** The first host's. */
  clock: Clock = systemClock
  readonly hosts = new Set<BackendHost>()

  constructor(options: CheckedOptions, names: ObjectNames, connection: Connection) {
    this.options = options
    this.bucket = options.bucket
    this.names = names
    this.connection = connection
  }

  /** Tells every manager. */
  report(error: CacheError): void {
    for (const host of this.hosts) host.report(error)
  }
}
