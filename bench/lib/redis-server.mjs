/*
 * A redis-server of the benchmark's own: on a free port of 127.0.0.1, without persistence, ended by its process id.
 */
import { execFileSync, spawn } from 'node:child_process'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { onCore } from './pinning.mjs'

const PROGRAM = process.env.REDIS_SERVER ?? 'redis-server'
/** One for each contender of a case, so that nobody walks over another's keys. */
const DATABASES = 32
/** Below what operating systems give to clients: nobody else's connection takes the port of a server that is down for the moment. */
const LOWEST_PORT = 22_000
const PORTS = 8_000

const running = new Set()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

/** @returns the version, or `undefined` where the program is missing */
export function redisVersion() {
  try {
    return /v=(\S+)/.exec(execFileSync(PROGRAM, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))[1]
  } catch {
    return undefined
  }
}

export async function freePort() {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORTS)
    const isFree = await new Promise((resolve) => {
      const server = net.createServer()
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

export class RedisServer {
  host = '127.0.0.1'
  #core
  #options
  #child

  constructor({ port, core, options = [] }) {
    this.port = port
    this.#core = core
    this.#options = options
  }

  /** @returns it, once it answers */
  async start() {
    const [command, args] = onCore(this.#core, PROGRAM, [
      ...['--port', String(this.port), '--bind', this.host, '--save', '', '--appendonly', 'no', '--databases', String(DATABASES)],
      ...this.#options,
    ])
    const child = spawn(command, args, { stdio: 'ignore' })
    child.unref()
    running.add(child)
    this.#child = child
    const gone = new Promise((resolve) => {
      child.once('exit', (code) => resolve(`ended with code ${code}`))
      child.once('error', (error) => resolve(error.message))
    })
    gone.then(() => running.delete(child))
    let reason
    gone.then((text) => (reason = text))
    while (!(await answers(this.port))) {
      if (reason !== undefined) throw new Error(`redis-server did not start: ${reason}`)
      await sleep(10)
    }
    return this
  }

  pause() {
    this.#child.kill('SIGSTOP')
  }

  resume() {
    this.#child.kill('SIGCONT')
  }

  /** Without a goodbye. */
  async kill() {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.ref() // or nothing may be left that waits for its end
    child.kill('SIGKILL')
    await gone
  }
}

export async function startRedis(settings = {}) {
  return new RedisServer({ port: settings.port ?? (await freePort()), ...settings }).start()
}

/** One command on a connection of its own. @returns the first bytes of the reply as text */
export function ask(port, ...words) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.setTimeout(2000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('data', (bytes) => {
      socket.destroy()
      resolve(bytes.toString())
    })
    socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('')}`)
  })
}

async function answers(port) {
  return (await ask(port, 'PING').catch(() => '')).startsWith('+PONG')
}
