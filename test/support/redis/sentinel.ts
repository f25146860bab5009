import { createHash } from 'node:crypto'
import { freePort } from '../servers/ports.js'
import { until } from '../servers/until.js'
import type { Reply } from './resp.js'
import { RedisServer, startRedis } from './server.js'

const SENTINELS = 3
const QUORUM = 2
const DOWN_AFTER_MS = 1_000
const FAILOVER_TIMEOUT_MS = 3_000

export interface SentinelOptions {
  /** What the sentinels call the master; `main` by default. */
  readonly name?: string
  /** Of the master and its replica; none by default. */
  readonly password?: string
}

/** A master and a replica, and three sentinels of which two decide. */
export class RedisSentinel {
  readonly name: string
  readonly sentinels: readonly RedisServer[]
  /** The first master, then the first replica. */
  readonly servers: readonly RedisServer[]
  #knownMaster: RedisServer

  constructor(name: string, sentinels: readonly RedisServer[], master: RedisServer, replica: RedisServer) {
    this.name = name
    this.sentinels = sentinels
    this.servers = [master, replica]
    this.#knownMaster = master
  }

  /** Of the sentinels, as clients take them. */
  get addresses(): { host: string; port: number }[] {
    return this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
  }

  /** The master, as the first sentinel that is alive sees it. */
  async master(): Promise<RedisServer> {
    const sentinel = this.#alive()[0]
    if (sentinel === undefined) throw new Error('no sentinel is alive')
    return this.#masterOf(sentinel)
  }

  /** The one that is not the master. */
  async replica(): Promise<RedisServer> {
    const master = await this.master()
    return this.servers.find((server) => server !== master)!
  }

  /**
   * Resolves with the new master when all sentinels that are alive name one other than before and it takes writes. `Before`
   * is the start, or the last time this resolved. Takes about four seconds after the master was killed or paused.
   */
  async failoverDone(): Promise<RedisServer> {
    const newMaster = await until(
      'all sentinels name a new master',
      async () => {
        const [first, ...others] = await Promise.all(this.#alive().map((sentinel) => this.#masterOf(sentinel)))
        if (first === undefined || first === this.#knownMaster || others.some((other) => other !== first)) return undefined
        const [role] = (await first.command('ROLE')) as Reply[]
        return role === 'master' ? first : undefined
      },
      { withinMs: 20_000, everyMs: 20 },
    )
    this.#knownMaster = newMaster
    return newMaster
  }

  async stop(): Promise<void> {
    await Promise.all([...this.sentinels, ...this.servers].map((server) => server.stop()))
  }

  #alive(): RedisServer[] {
    return this.sentinels.filter((sentinel) => sentinel.isAlive)
  }

  async #masterOf(sentinel: RedisServer): Promise<RedisServer> {
    const [, port] = ((await sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name)) ?? []) as Reply[]
    const server = this.servers.find((candidate) => candidate.port === Number(port))
    if (server === undefined) throw new Error(`the sentinels name a master on port ${String(port)}, which is none of theirs`)
    return server
  }
}

/** Starts a master, a replica and three sentinels; resolves when they know each other and could fail over. */
export async function startSentinel({ name = 'main', password }: SentinelOptions = {}): Promise<RedisSentinel> {
  const secret = password === undefined ? {} : { password }
  const master = await startRedis(secret)
  const [replica, ...ports] = await Promise.all([startRedis({ ...secret, replicaOf: master.port }), ...Array.from({ length: SENTINELS }, freePort)])
  const sentinels = await Promise.all(ports.map((port) => startOne(port, ports, { name, master, replica, password })))
  await Promise.all(sentinels.map((sentinel) => until(`the sentinel on port ${sentinel.port} is ready`, () => isReady(sentinel, name))))
  return new RedisSentinel(name, sentinels, master, replica)
}

interface Watched {
  readonly name: string
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly password: string | undefined
}

async function startOne(port: number, all: readonly number[], { name, master, replica, password }: Watched): Promise<RedisServer> {
  const sentinel = new RedisServer({
    name: `redis-sentinel-${port}`,
    address: { port },
    url: `redis://127.0.0.1:${port}`,
    args: ['--sentinel'],
    config: [
      `port ${port}`,
      `sentinel myid ${idOf(port)}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} ${QUORUM}`,
      `sentinel down-after-milliseconds ${name} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${name} ${FAILOVER_TIMEOUT_MS}`,
      `sentinel parallel-syncs ${name} 1`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${name} ${JSON.stringify(password)}`]),
      // what a sentinel would write here itself after some seconds of listening
      `sentinel known-replica ${name} 127.0.0.1 ${replica.port}`,
      ...all.filter((other) => other !== port).map((other) => `sentinel known-sentinel ${name} 127.0.0.1 ${other} ${idOf(other)}`),
    ],
  })
  await sentinel.start()
  return sentinel
}

function idOf(port: number): string {
  return createHash('sha1').update(`sentinel on ${port}`).digest('hex')
}

async function isReady(sentinel: RedisServer, name: string): Promise<boolean> {
  const quorum = String(await sentinel.command('SENTINEL', 'CKQUORUM', name)) // an error while too few are usable
  const replicas = (await sentinel.command('SENTINEL', 'REPLICAS', name)) as Reply[][]
  const linked = replicas.some((fields) => fields[fields.indexOf('master-link-status') + 1] === 'ok' && fields[fields.indexOf('flags') + 1] === 'slave')
  return quorum.startsWith(`OK ${SENTINELS} `) && linked
}
