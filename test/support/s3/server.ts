import { randomBytes } from 'node:crypto'
import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'

// The SDK says on Node 20, in every process, that releases to come will not support it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface S3Description {
  /** Without a path: `http://127.0.0.1:12345`. */
  readonly endpoint: string
  readonly region: string
  readonly credentials: Credentials
  /** Of somebody whom the server knows and who has no right to the buckets of the first user. LocalStack refuses nobody, so there is none. */
  readonly otherUser: Credentials | undefined
  /** How long a day of a lifecycle rule lasts. `undefined` where it is a real one, which no test waits for. */
  readonly lifecycleDayMs: number | undefined
}

export interface ClientOptions {
  /** The first user by default. */
  readonly user?: Credentials
  /** Of a proxy on 127.0.0.1 to the server; the server's own by default. */
  readonly port?: number
}

/** A store that speaks S3, for one test file. What it has is the file's own, and is gone after it. */
export abstract class S3Server implements S3Description {
  abstract readonly kind: 'ceph' | 'localstack' | 'given'
  readonly endpoint: string
  /** Of the endpoint, for `startProxy`, which reaches servers on 127.0.0.1: any but a given one. */
  readonly port: number
  readonly region: string
  readonly credentials: Credentials
  readonly otherUser: Credentials | undefined
  readonly lifecycleDayMs: number | undefined

  constructor({ endpoint, region, credentials, otherUser, lifecycleDayMs }: S3Description) {
    const { port, protocol } = new URL(endpoint)
    this.endpoint = endpoint
    this.port = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
    this.region = region
    this.credentials = credentials
    this.otherUser = otherUser
    this.lifecycleDayMs = lifecycleDayMs
  }

  /**
   * For `new S3Client(...)`. The bucket stands in the path, as names of hosts on 127.0.0.1 cannot be resolved; checksums only
   * where S3 asks for them, as the gateway of Ceph 16 answers 411 to a stream with the SDK's trailing checksum.
   */
  clientConfig({ user = this.credentials, port }: ClientOptions = {}): S3ClientConfig {
    return {
      endpoint: port === undefined ? this.endpoint : `http://127.0.0.1:${port}`,
      region: this.region,
      credentials: user,
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    }
  }

  /** Makes a bucket of the first user and gives its name, which is nobody else's by default. */
  async createBucket(name = `thermocline-${randomBytes(8).toString('hex')}`): Promise<string> {
    const client = new S3Client(this.clientConfig())
    try {
      await client.send(new CreateBucketCommand({ Bucket: name }))
    } finally {
      client.destroy()
    }
    return name
  }

  /** Ends it with everything it has stored. */
  abstract stop(): Promise<void>
}
