import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePort } from '../servers/ports.js'
import { runToEnd, serverDirectory, ServerProcess } from '../servers/server-process.js'
import { until } from '../servers/until.js'
import type { CephProgram } from '../servers/binaries.mjs'
import { cephPrograms } from './available.js'
import { cephConfig, cephKeyring, type CephPlan, GATEWAY } from './ceph-config.js'
import { type Credentials, type S3Description, S3Server } from './server.js'

const UP_WITHIN_MS = 20_000

export interface CephOptions {
  /** How many megabytes it stores at most; 1024 by default. */
  readonly storeMegabytes?: number
  /** How long a day of a lifecycle rule lasts; 5 by default. */
  readonly lifecycleDaySeconds?: number
  /** Besides STANDARD, which is always there; STANDARD_IA and GLACIER by default. */
  readonly storageClasses?: readonly string[]
}

interface Parts {
  readonly directory: string
  readonly monitor: ServerProcess
  readonly store: ServerProcess
  readonly gateway: ServerProcess
}

/** A Ceph cluster of the test file's own, behind its S3 gateway. Only the gateway is paused and killed; the store remains. */
export class CephServer extends S3Server {
  readonly kind = 'ceph'
  readonly #parts: Parts

  constructor(description: S3Description, parts: Parts) {
    super(description)
    this.#parts = parts
  }

  /** Has the configuration and the logs until `stop`. */
  get dir(): string {
    return this.#parts.directory
  }

  /** Of gateway, store and monitor. */
  get pids(): readonly number[] {
    const { monitor, store, gateway } = this.#parts
    return [gateway, store, monitor].map(({ pid }) => pid)
  }

  /** SIGSTOP: the kernel accepts connections for it, and nothing is answered until `resume`. */
  pause(): void {
    this.#parts.gateway.pause()
  }

  resume(): void {
    this.#parts.gateway.resume()
  }

  /** Its port then refuses connections; `restart` brings it back, with all that is stored. */
  async kill(): Promise<void> {
    await this.#parts.gateway.kill() // SIGKILL: it can take a minute over SIGTERM
  }

  /** Kills it if it runs, and starts it on the same port. The next new bucket may take two seconds: the store first gives up waiting for the gateway that was. Objects do not wait. */
  async restart(): Promise<void> {
    await this.kill()
    await this.startGateway()
  }

  async stop(): Promise<void> {
    const { directory, monitor, store, gateway } = this.#parts
    await Promise.all([gateway, store, monitor].map((part) => part.kill()))
    rmSync(directory, { recursive: true, force: true })
  }

  /** @internal */
  async startGateway(): Promise<void> {
    const { gateway } = this.#parts
    gateway.start()
    const isUp = async (): Promise<boolean> => !gateway.isRunning || (await fetch(this.endpoint)).ok
    await until('the S3 gateway answers', isUp, { withinMs: UP_WITHIN_MS })
    if (!gateway.isRunning) throw new Error(`the S3 gateway for port ${this.port} ended at once:\n${gateway.logTail()}`)
  }
}

/** Starts a cluster and its gateway, with two users and storage classes beside STANDARD. */
export async function startCeph({ storeMegabytes = 1_024, lifecycleDaySeconds = 5, storageClasses = ['STANDARD_IA', 'GLACIER'] }: CephOptions = {}): Promise<CephServer> {
  const gatewayPort = await freePort()
  const directory = serverDirectory(`ceph-${gatewayPort}`)
  const plan = { directory, clusterId: randomUUID(), monitorPort: await freePort(), gatewayPort, storeBytes: storeMegabytes * 1024 ** 2, lifecycleDaySeconds }
  const parts = await startCluster(plan)
  const [credentials, otherUser] = [newCredentials(), newCredentials()]
  const description = { endpoint: `http://127.0.0.1:${gatewayPort}`, region: 'us-east-1', credentials, otherUser, lifecycleDayMs: lifecycleDaySeconds * 1_000 }
  try {
    await setUpGateway(directory, { thermocline: credentials, other: otherUser }, storageClasses)
    const server = new CephServer(description, parts)
    await server.startGateway()
    return server
  } catch (error) {
    throw new Error(`the S3 gateway of Ceph does not start; its store said:\n${parts.store.logTail()}`, { cause: error })
  }
}

/**
 * Starts monitor and store. The maps of the cluster are made beforehand, with the store already in them: so nothing has to be
 * registered at the monitor with the `ceph` command, a Python program that takes half a second each time.
 */
async function startCluster(plan: CephPlan): Promise<Parts> {
  const { directory, clusterId, monitorPort } = plan
  for (const name of ['mon', 'osd', 'run']) mkdirSync(path.join(directory, name))
  writeFileSync(path.join(directory, 'ceph.conf'), cephConfig(plan))
  writeFileSync(path.join(directory, 'keyring'), cephKeyring())
  const file = (name: string): string => path.join(directory, name)
  const common = ['--no-mon-config', '-c', file('ceph.conf')]
  await Promise.all([
    runToEnd(program('monmaptool'), ['--create', '--fsid', clusterId, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, file('monmap')]),
    runToEnd(program('osdmaptool'), ['-c', file('ceph.conf'), '--createsimple', '1', '--clobber', file('osdmap')]),
  ])
  await Promise.all([
    runToEnd(program('ceph-mon'), [...common, '-i', 'a', '--mkfs', '--monmap', file('monmap'), '--osdmap', file('osdmap'), '--keyring', file('keyring')]),
    runToEnd(program('ceph-osd'), [...common, '-i', '0', '--mkfs', '--osd-uuid', randomUUID()]),
  ])
  // in the root directory, as a service: Debian 13 looks for plug-ins in lib/..., from where it is
  const part = (name: CephProgram, args: readonly string[]): ServerProcess => new ServerProcess(newDirectory(file(`${name}.out`)), program(name), [...common, '-f', ...args], { cwd: '/' })
  const parts = { directory, monitor: part('ceph-mon', ['-i', 'a']), store: part('ceph-osd', ['-i', '0']), gateway: part('radosgw', ['-n', GATEWAY]) }
  parts.monitor.start()
  parts.store.start()
  return parts
}

/** Users and storage classes have to be there before the gateway starts. The first command waits until the store is up, and makes the pools. */
async function setUpGateway(directory: string, users: Readonly<Record<string, Credentials>>, storageClasses: readonly string[]): Promise<void> {
  const admin = (...args: readonly string[]): Promise<string> => runToEnd(program('radosgw-admin'), ['--no-mon-config', '-c', path.join(directory, 'ceph.conf'), '-n', GATEWAY, ...args])
  for (const [name, { accessKeyId, secretAccessKey }] of Object.entries(users)) {
    await admin('user', 'create', '--uid', name, '--display-name', name, '--access-key', accessKeyId, '--secret-key', secretAccessKey)
  }
  const placement = ['placement', 'add', '--placement-id', 'default-placement', '--storage-class']
  for (const storageClass of storageClasses) {
    await admin('zonegroup', ...placement, storageClass, '--rgw-zonegroup', 'default')
    await admin('zone', ...placement, storageClass, '--rgw-zone', 'default', '--data-pool', 'default.rgw.buckets.data')
  }
}

function newCredentials(): Credentials {
  return { accessKeyId: randomBytes(10).toString('hex').toUpperCase(), secretAccessKey: randomBytes(20).toString('hex') }
}

function program(name: CephProgram): string {
  return cephPrograms()[name]
}

function newDirectory(directory: string): string {
  mkdirSync(directory)
  return directory
}
