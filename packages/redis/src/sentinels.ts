import { SentinelConnector, type Redis, type RedisOptions } from 'ioredis'

/** What the client's connector does, by its own account in private. */
type Connector = new (options: unknown) => Pick<SentinelConnector, keyof SentinelConnector> & { connectToSentinel(endpoint: object, options?: RedisOptions): Redis }

/**
 * Asks sentinels for the master. The client's own connector leaves a timer of two seconds behind each time one does not
 * answer (ioredis 6.0.0): while it is tried anew every second, the process would never exit.
 */
export class Sentinels extends (SentinelConnector as unknown as Connector) {
  readonly #disconnectTimeout: number | undefined

  constructor(options: RedisOptions) {
    super(options)
    this.#disconnectTimeout = options.disconnectTimeout
  }

  override connectToSentinel(endpoint: object, options?: RedisOptions): Redis {
    return super.connectToSentinel(endpoint, { ...options, disconnectTimeout: this.#disconnectTimeout })
  }
}
