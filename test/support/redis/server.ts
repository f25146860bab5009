import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePort } from '../servers/ports.js'
import { serverDirectory, ServerProcess } from '../servers/server-process.js'
import { until } from '../servers/until.js'
import { redisProgram, redisVersion } from './available.js'
import { type Address, ask } from './connection.js'
import { type Argument, decodeStrings, type RawReply, type Reply } from './resp.js'

const UP_WITHIN_MS = 10_000
const ASK_EVERY_MS = 4

export interface RedisOptions {
  /** A free one by default. */
  readonly port?: number
  /** What clients have to say; none by default. */
  readonly password?: string
  /** The port of the master to follow; its password is taken to be the same. */
  readonly replicaOf?: number
  /** In bytes or as `64mb`; no limit by default. */
  readonly maxmemory?: number | string
  /** `noeviction` by default. */
  readonly maxmemoryPolicy?: string
  /** More lines for redis.conf; a later line overrules an earlier one. */
  readonly config?: readonly string[]
}

/** What makes a server; for the topologies of this folder. */
export interface ServerPlan {
  /** What its directory is called. */
  readonly name: string
  readonly directory?: string
  readonly address: Address
  readonly url: string
  readonly config: readonly string[]
  readonly args?: readonly string[]
}

/** A Redis server of the test's own on 127.0.0.1, without persistence. It ends with `stop`, at the latest with the test file. */
export class RedisServer {
  readonly port: number
  /** With password and user name, if there are any. */
  readonly url: string
  /** Has redis.conf and server.log until `stop`. */
  readonly dir: string
  readonly #process: ServerProcess
  readonly #address: Address
  #isPaused = false

  constructor({ name, address, url, config, args = [], directory = serverDirectory(name) }: ServerPlan) {
    this.port = address.port
    this.url = url
    this.dir = directory
    this.#address = address
    const file = path.join(directory, 'redis.conf')
    writeFileSync(file, `${[`dir ${directory}`, 'bind 127.0.0.1', ...config].join('\n')}\n`)
    this.#process = new ServerProcess(directory, redisProgram(), [file, ...args])
  }

  get pid(): number {
    return this.#process.pid
  }

  /** It runs and is not paused. */
  get isAlive(): boolean {
    return this.#process.isRunning && !this.#isPaused
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    this.#process.start()
    this.#isPaused = false
    const isUp = async (): Promise<boolean> => {
      if (!this.#process.isRunning) return true
      // what answers on the port may be someone else's
      return String(await this.command('INFO', 'server')).includes(`process_id:${this.pid}\r\n`)
    }
    await until(`a Redis server on port ${this.port}`, isUp, { withinMs: UP_WITHIN_MS, everyMs: ASK_EVERY_MS })
    if (!this.#process.isRunning) throw new Error(`the Redis server for port ${this.port} ended at once:\n${this.#process.logTail()}`)
  }

  /** Sends a command on a connection of its own, as the user with all rights. Rejects with a ReplyError, or after five seconds. */
  async command(...args: readonly Argument[]): Promise<Reply> {
    return decodeStrings(await this.rawCommand(...args))
  }

  /** The same, with strings as Buffers. */
  rawCommand(...args: readonly Argument[]): Promise<RawReply> {
    return ask(this.#address, ...args)
  }

  /** What one section of INFO says of a field. */
  async info(section: string, field: string): Promise<string | undefined> {
    const text = String(await this.command('INFO', section))
    return new RegExp(`^${field}:(.*)\r$`, 'm').exec(text)?.[1]
  }

  /** Ends it (SIGKILL, also while paused) and removes its directory. */
  async stop(): Promise<void> {
    await this.#process.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** SIGKILL. Its port then refuses connections; `restart` brings it back, empty. */
  async kill(): Promise<void> {
    await this.#process.kill()
  }

  /** SIGSTOP: it keeps its connections, the kernel accepts new ones for it, and nothing is answered until `resume`. */
  pause(): void {
    this.#isPaused = true
    this.#process.pause()
  }

  resume(): void {
    this.#process.resume()
    this.#isPaused = false
  }

  /** Kills it if it runs, and starts it on the same port with the same configuration (and what CONFIG REWRITE added), without data. */
  async restart(): Promise<void> {
    await this.#process.kill()
    await this.start()
  }
}

/** The lines of redis.conf that all data servers here have. */
export function commonConfig({ password, replicaOf, maxmemory, maxmemoryPolicy, config = [] }: RedisOptions): string[] {
  return [
    "save ''",
    'appendonly no',
    'repl-diskless-sync yes',
    'repl-diskless-sync-delay 0', // a replica is in step at once, not after five seconds
    ...(redisVersion()[0] >= 7 ? ['enable-debug-command local'] : []), // DEBUG SLEEP; older servers always have it
    ...(password === undefined ? [] : [`requirepass ${JSON.stringify(password)}`, `masterauth ${JSON.stringify(password)}`]),
    ...(replicaOf === undefined ? [] : [`replicaof 127.0.0.1 ${replicaOf}`]),
    ...(maxmemory === undefined ? [] : [`maxmemory ${maxmemory}`]),
    ...(maxmemoryPolicy === undefined ? [] : [`maxmemory-policy ${maxmemoryPolicy}`]),
    ...config,
  ]
}

/** Starts one Redis server. A replica is in step with its master when this resolves. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { port = await freePort(), password, replicaOf } = options
  const server = new RedisServer({
    name: `redis-${port}`,
    address: { port, ...(password === undefined ? {} : { password }) },
    url: `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}`,
    config: [`port ${port}`, ...commonConfig(options)],
  })
  await server.start()
  if (replicaOf !== undefined) await inStep(server)
  return server
}

/**
 * Resolves when the replica follows its master, and has what the master, if given, has written by now. (WAIT would not do:
 * it is about the writes of its own connection.)
 */
export async function inStep(replica: RedisServer, master?: RedisServer): Promise<void> {
  const written = Number((await master?.info('replication', 'master_repl_offset')) ?? 0)
  await until(
    `the replica on port ${replica.port} is in step`,
    async () => (await replica.info('replication', 'master_link_status')) === 'up' && Number(await replica.info('replication', 'slave_repl_offset')) >= written,
    { everyMs: ASK_EVERY_MS },
  )
}
