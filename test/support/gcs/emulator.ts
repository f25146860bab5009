import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../servers/ports.js'
import { serverDirectory, ServerProcess } from '../servers/server-process.js'
import { until } from '../servers/until.js'
import { firebaseToolsDirectory } from './available.js'
import type { GcsServer, GcsStorageOptions } from './server.js'

const PROGRAM = path.join(path.dirname(fileURLToPath(import.meta.url)), 'emulator-process.cjs')
const UP_WITHIN_MS = 25_000

/**
 * The Cloud Storage emulator of firebase-tools, in a process of the test file's own: an implementation that is not ours. It knows uploads in
 * one piece, metadata, ranges, listings and copies. It does not know preconditions, uploads in several pieces, 416, storage classes,
 * lifecycles, nor that a bucket may be missing; see `startStrictGcs` for those.
 */
export class GcsEmulator implements GcsServer {
  readonly kind = 'emulator'
  readonly port: number
  readonly endpoint: string
  /** Has its log, and what it stores, until `stop`. */
  readonly dir: string
  readonly #process: ServerProcess

  constructor(port: number) {
    this.port = port
    this.endpoint = `http://127.0.0.1:${port}`
    this.dir = serverDirectory(`gcs-emulator-${port}`)
    const temporary = path.join(this.dir, 'tmp') // where it stores objects, in a folder of the same name for every instance
    mkdirSync(temporary)
    this.#process = new ServerProcess(this.dir, process.execPath, [PROGRAM, firebaseToolsDirectory(), String(port)], { env: { TMPDIR: temporary, NODE_OPTIONS: '' } })
  }

  get pid(): number {
    return this.#process.pid
  }

  storageOptions(port = this.port): GcsStorageOptions {
    return { apiEndpoint: `http://127.0.0.1:${port}`, projectId: 'thermocline-tests' }
  }

  /** A name only: the emulator takes every bucket to be there. */
  async createBucket(name = `thermocline-${randomBytes(8).toString('hex')}`): Promise<string> {
    return name
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    this.#process.start()
    const isUp = async (): Promise<boolean> => !this.#process.isRunning || (await fetch(`${this.endpoint}/b`)).ok
    await until(`the Cloud Storage emulator on port ${this.port}`, isUp, { withinMs: UP_WITHIN_MS })
    if (!this.#process.isRunning) throw new Error(`the Cloud Storage emulator for port ${this.port} ended at once:\n${this.#process.logTail()}`)
  }

  /** SIGSTOP: the kernel accepts connections for it, and nothing is answered until `resume`. */
  pause(): void {
    this.#process.pause()
  }

  resume(): void {
    this.#process.resume()
  }

  /** SIGKILL. Its port then refuses connections; `restart` brings it back, empty. */
  async kill(): Promise<void> {
    await this.#process.kill()
  }

  async restart(): Promise<void> {
    await this.#process.kill()
    await this.start()
  }

  async stop(): Promise<void> {
    await this.#process.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Starts an emulator on a free port. */
export async function startGcsEmulator(): Promise<GcsEmulator> {
  const emulator = new GcsEmulator(await freePort())
  await emulator.start()
  return emulator
}
