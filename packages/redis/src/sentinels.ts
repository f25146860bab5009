import { SentinelConnector, type Redis, type RedisOptions } from 'ioredis'
import type { Address } from './failovers.js'

/** What the client's connector does, by its own account in private. */
type Connector = new (options: unknown) => Pick<SentinelConnector, keyof SentinelConnector> & {
  connectToSentinel(endpoint: object, options?: RedisOptions): Redis
  resolve(endpoint: object): Promise<Address | null>
}

/** The master of a connection to a group. */
export class KnownMaster {
  /** Where the connection was sent last. */
  current: Address | undefined
  #told: Address | undefined

  is({ host, port }: Address): boolean {
    return this.current?.host === host && this.current.port === port
  }

  /** The next attempt to connect goes there, and asks nobody: other sentinels may not have heard of it yet. */
  tell(master: Address): void {
    this.#told = master
  }

  take(): Address | undefined {
    const told = this.#told
    this.#told = undefined
    return told
  }
}

/**
 * Asks sentinels for the master. The client's own connector leaves a timer of two seconds behind each time one does not
 * answer (ioredis 6.0.0): while it is tried anew every second, the process would never exit.
 */
export function connectorOfSentinels(known: KnownMaster): NonNullable<RedisOptions['Connector']> {
  class Sentinels extends (SentinelConnector as unknown as Connector) {
    readonly #disconnectTimeout: number | undefined

    constructor(options: RedisOptions) {
      super(options)
      this.#disconnectTimeout = options.disconnectTimeout
    }

    override connectToSentinel(endpoint: object, options?: RedisOptions): Redis {
      return super.connectToSentinel(endpoint, { ...options, disconnectTimeout: this.#disconnectTimeout })
    }

    override async resolve(endpoint: object): Promise<Address | null> {
      const master = known.take() ?? (await super.resolve(endpoint))
      known.current = master ?? undefined
      return master
    }
  }
  return Sentinels as unknown as NonNullable<RedisOptions['Connector']>
}
