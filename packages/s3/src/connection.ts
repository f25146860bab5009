import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { CacheError } from '@thermocline/backend'
import { agentsFor } from './agents.js'
import type { CheckedOptions } from './options.js'
import { requestsOfGiven, requestsOfOwn, type Requests } from './requests.js'

/** The AWS SDK, once it is loaded. */
export type Sdk = typeof import('@aws-sdk/client-s3')

/** What requests are made with. */
export interface Opened {
  readonly sdk: Sdk
  readonly client: Requests
}

/**
 * A little more than an object store's budget (5 s), which usually leaves first, and less than the 6 s from which on the SDK sets its
 * timer only 3 s later.
 */
const IDLE_TIMEOUT_MS = 5900
const NO_REGION = 'us-east-1'
const QUIET = { debug: ignore, info: ignore, warn: ignore, error: ignore, trace: ignore }

/**
 * The client of one backend. The SDK takes some 100 ms to load, so that happens with the first request; a process that never
 * asks the store never loads it.
 */
export class Connection {
  readonly #options: CheckedOptions
  #opened: Opened | undefined
  /** Of our own client, once there is one. */
  #destroy: (() => void) | undefined
  #opening: Promise<Opened> | undefined
  #closed = false

  constructor(options: CheckedOptions) {
    this.#options = options
  }

  /** What requests are made with. @throws CacheError `closed` */
  open(operation: string): Opened | Promise<Opened> {
    if (this.#closed) throw new CacheError('closed', `${operation} on s3 came after its end`, { operation, backend: 's3' })
    return this.#opened ?? (this.#opening ??= this.#load())
  }

  /** Ends connections, also those in use; a client that was given stays open. Ending twice is harmless. */
  close(): void {
    this.#closed = true
    this.#destroy?.()
  }

  async #load(): Promise<Opened> {
    const sdk = await import('@aws-sdk/client-s3')
    if (!this.#closed) return (this.#opened = { sdk, client: this.#requests(sdk) })
    throw new CacheError('closed', 's3 was closed while it was being loaded', { operation: 'open', backend: 's3' })
  }

  #requests(sdk: Sdk): Requests {
    if (this.#options.client !== undefined) return requestsOfGiven(this.#options.client)
    const client = new sdk.S3Client(configOf(this.#options))
    this.#destroy = () => client.destroy()
    return requestsOfOwn(client)
  }
}

function configOf({ region, endpoint, forcePathStyle, credentials, maxSockets, responseChecksumValidation }: CheckedOptions): S3ClientConfig {
  // the region of a compatible store only goes into signatures
  const ownRegion = region ?? (endpoint === undefined || process.env['AWS_REGION'] !== undefined ? undefined : NO_REGION)
  return {
    ...(ownRegion === undefined ? {} : { region: ownRegion }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: forcePathStyle ?? false,
    maxAttempts: 1, // the manager tries again, within its budget
    requestChecksumCalculation: 'WHEN_REQUIRED', // a put brings its CRC-32 along; the SDK's own would turn a stream into chunks of a framing that not every store knows
    responseChecksumValidation: responseChecksumValidation ?? 'WHEN_REQUIRED',
    expectContinueHeader: false, // the SDK makes a connection of its own for each request that has it
    requestHandler: {
      ...agentsFor(maxSockets),
      socketTimeout: IDLE_TIMEOUT_MS,
      logger: QUIET, // it would write to the console when all connections are in use
    },
    logger: QUIET, // and when a stream cannot be sent again
  }
}

function ignore(): void {
  // nobody listens
}
