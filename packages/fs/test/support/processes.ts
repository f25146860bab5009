import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterwards } from '../../../../test/support/afterwards.js'

const SUPPORT = path.dirname(fileURLToPath(import.meta.url))

export interface Child {
  readonly process: ChildProcess
  /** What it has printed so far. */
  readonly output: () => string
  /** Resolves with its exit code or signal, once it has ended and said everything. */
  readonly ended: Promise<number | NodeJS.Signals | null>
}

/** Starts a process that does the work in the directory; see child.mjs for the works there are. */
export function startChild(work: string, basePath: string, plan: Readonly<Record<string, unknown>> = {}, identity: { uid?: number; gid?: number } = {}): Child {
  return follow(spawn(process.execPath, [path.join(SUPPORT, 'child.mjs'), JSON.stringify({ work, basePath, ...plan })], { stdio: ['ignore', 'pipe', 'pipe'], ...identity }))
}

/** Starts a process that uses a backend without a manager; see backend-child.mjs. `before` is what to start it with: `strace`, ... */
export function startBackendChild(work: string, plan: Readonly<Record<string, unknown>>, before: readonly string[] = []): Child {
  const [command = process.execPath, ...options] = before
  const script = [path.join(SUPPORT, 'backend-child.mjs'), JSON.stringify({ work, ...plan })]
  return follow(spawn(command, before.length === 0 ? script : [...options, process.execPath, ...script], { stdio: ['ignore', 'pipe', 'pipe'] }))
}

/** Starts any other command. */
export function startCommand(command: string, args: readonly string[]): Child {
  return follow(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
}

function follow(child: ChildProcessByStdio<null, Readable, Readable>): Child {
  afterwards(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, 'close').then(([code, signal]: (number | NodeJS.Signals | null)[]) => code ?? signal ?? null)
  return { process: child, output: () => output, ended }
}

/** Resolves when the child has printed the word. */
export async function saying(child: Child, word: string): Promise<void> {
  while (!child.output().includes(word)) {
    if (child.process.exitCode !== null || child.process.signalCode !== null) throw new Error(`the child ended without ${word}: ${child.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
