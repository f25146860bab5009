import { Hosts } from '@thermocline/backend'
import type { ObjectNames } from '@thermocline/object-store'
import type { Connection } from './connection.js'
import type { CheckedOptions } from './options.js'

/** What the parts of one backend have in common. */
export class Shared {
  readonly options: CheckedOptions
  readonly bucket: string
  readonly names: ObjectNames
  readonly connection: Connection
  readonly hosts = new Hosts()

  constructor(options: CheckedOptions, names: ObjectNames, connection: Connection) {
    this.options = options
    this.bucket = options.bucket
    this.names = names
    this.connection = connection
  }
}
