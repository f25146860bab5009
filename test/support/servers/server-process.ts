import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { atEndOfFile } from './end-of-file.js'
import { Guardian } from './guardian.js'

const LOG = 'server.log'
const LOG_TAIL = 2_000

/** One directory and one guardian for all servers of a test file. */
let home: { readonly directory: string; readonly guardian: Guardian } | undefined

function ensureHome(): NonNullable<typeof home> {
  if (home !== undefined) return home
  const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-servers-'))
  const guardian = new Guardian(directory)
  home = { directory, guardian }
  atEndOfFile(async () => {
    home = undefined
    await guardian.end()
  })
  return home
}

/** A new directory for a server; it goes with the test file. */
export function serverDirectory(name: string): string {
  return mkdtempSync(path.join(ensureHome().directory, `${name}-`))
}

/** Sees to it that a container of Docker does not outlive the test process, nor the test file. */
export function guardContainer(name: string, docker: string): void {
  ensureHome().guardian.watchContainer(name, docker)
}

/** Runs a program that ends by itself, and gives what it printed. It never outlives the test process; rejects when it fails. */
export async function runToEnd(program: string, args: readonly string[], { withinMs = 30_000 } = {}): Promise<string> {
  const { guardian } = ensureHome()
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: withinMs, killSignal: 'SIGKILL' })
  const printed: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => printed.push(bytes))
  const { pid } = child
  if (pid !== undefined) guardian.watch(pid)
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null] // rejects when there is no such program
  if (pid !== undefined) guardian.forget(pid)
  const output = Buffer.concat(printed).toString()
  if (code !== 0) throw new Error(`${path.basename(program)} ${args.join(' ')}\nended with ${signal ?? code}:\n${output.slice(-LOG_TAIL)}`)
  return output
}

/** A program that runs as a server, in a directory that also has its log. It never outlives the test file. */
export class ServerProcess {
  readonly directory: string
  readonly #program: string
  readonly #args: readonly string[]
  readonly #env: NodeJS.ProcessEnv
  readonly #cwd: string
  #child: ChildProcess | undefined

  /** Its environment is that of this process, with `env` over it; it runs in its directory, or in `cwd`. */
  constructor(directory: string, program: string, args: readonly string[], { env = {}, cwd = directory }: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {}) {
    this.directory = directory
    this.#program = program
    this.#args = args
    this.#env = env
    this.#cwd = cwd
    atEndOfFile(() => this.kill())
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Of the process that runs, or ran last. */
  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error(`${this.#program} has not been started`)
    return pid
  }

  start(): void {
    if (this.isRunning) throw new Error(`${this.#program} is running already, as ${this.pid}`)
    const { guardian } = ensureHome()
    const log = openSync(path.join(this.directory, LOG), 'a')
    const child = spawn(this.#program, this.#args, { cwd: this.#cwd, env: { ...process.env, ...this.#env }, stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child = child
    const { pid } = child
    if (pid === undefined) throw new Error(`${this.#program} could not be started`)
    guardian.watch(pid)
    child.once('exit', () => guardian.forget(pid))
    child.unref()
  }

  /** SIGKILL, which also ends a stopped process. Resolves when the process is no more; nothing happens when it is not running. */
  async kill(): Promise<void> {
    if (!this.isRunning || this.#child === undefined) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  /** SIGSTOP: the kernel still accepts connections and bytes for it, and nobody answers. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  /** SIGCONT */
  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** The end of what it printed. */
  logTail(): string {
    return readFileSync(path.join(this.directory, LOG), 'utf8').slice(-LOG_TAIL)
  }
}
