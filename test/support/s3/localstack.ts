import { randomBytes } from 'node:crypto'
import { atEndOfFile } from '../servers/end-of-file.js'
import { freePort } from '../servers/ports.js'
import { guardContainer, runToEnd } from '../servers/server-process.js'
import { until } from '../servers/until.js'
import { dockerProgram } from './available.js'
import { type S3Description, S3Server } from './server.js'

/** The last version that starts without an account at LocalStack. */
const IMAGE = 'localstack/localstack:4.14.0'
const INNER_PORT = 4_566
const PULLED_WITHIN_MS = 600_000
const UP_WITHIN_MS = 60_000

/**
 * LocalStack in a container of the test file's own, started by the `docker` command: what localstack-utils does, which would bring
 * the AWS SDK of 2021 along. It refuses no credentials, and the days of its lifecycle rules are real ones.
 */
export class LocalStackServer extends S3Server {
  readonly kind = 'localstack'
  readonly #container: string

  constructor(description: S3Description, container: string) {
    super(description)
    this.#container = container
    atEndOfFile(() => this.stop())
  }

  async stop(): Promise<void> {
    await runToEnd(dockerProgram(), ['rm', '--force', this.#container])
  }
}

/** Starts LocalStack with nothing but S3; the first time Docker fetches the image, a few hundred megabytes. */
export async function startLocalStack(): Promise<LocalStackServer> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const container = `thermocline-tests-${randomBytes(8).toString('hex')}`
  guardContainer(container, dockerProgram())
  const publish = `127.0.0.1:${port}:${INNER_PORT}`
  await runToEnd(dockerProgram(), ['run', '--detach', '--rm', '--name', container, '--publish', publish, '--env', 'SERVICES=s3', '--env', 'EAGER_SERVICE_LOADING=1', IMAGE], { withinMs: PULLED_WITHIN_MS })
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' }
  const server = new LocalStackServer({ endpoint, region: 'us-east-1', credentials, otherUser: undefined, lifecycleDayMs: undefined }, container)
  await until('LocalStack answers', async () => (await fetch(`${endpoint}/_localstack/health`)).ok, { withinMs: UP_WITHIN_MS, everyMs: 100 })
  return server
}
