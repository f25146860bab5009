// What every script here needs: where the project is, how to run a command quietly, and how to say how long it took.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const BIN = path.join(ROOT, 'node_modules', '.bin')
const WINDOWS = process.platform === 'win32'

/** Where results and downloads live between runs; never committed. */
export function cacheDirectory(...parts) {
  const directory = path.join(ROOT, '.cache', ...parts)
  mkdirSync(directory, { recursive: true })
  return directory
}

/** The environment of every child: the project's own tools (pnpm among them) first on the path, no telemetry. */
function childEnvironment(extra) {
  return {
    ...process.env,
    PATH: `${BIN}${path.delimiter}${process.env.PATH ?? ''}`,
    TURBO_TELEMETRY_DISABLED: '1',
    DO_NOT_TRACK: '1',
    npm_config_update_notifier: 'false',
    ...extra,
  }
}

/** Runs a command with the terminal attached. Returns its exit code; a signal counts as 1. */
export function runVisibly(command, args, { cwd = ROOT, env } = {}) {
  const child = spawnSync(command, args, { cwd, env: childEnvironment(env), stdio: 'inherit', shell: WINDOWS && command !== process.execPath })
  if (child.error !== undefined) throw child.error
  return child.status ?? 1
}

/** Runs a command and keeps what it prints: `{ code, stdout, output }`, where `output` is both streams as they came. */
export function runQuietly(command, args, { cwd = ROOT, env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: childEnvironment(env), stdio: ['ignore', 'pipe', 'pipe'], shell: WINDOWS && command !== process.execPath })
    let stdout = ''
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    child.on('error', (error) => resolve({ code: 1, stdout, output: `${output}${command}: ${error.message}\n` }))
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, output }))
  })
}

/** Prints `label...`, then how long `work` took. When `work` throws, its message is printed and the process ends with 1. */
export async function phase(label, work) {
  const startedAt = performance.now()
  process.stdout.write(`${label}... `)
  try {
    const note = await work()
    console.log(`${typeof note === 'string' ? `${note}, ` : ''}${seconds(performance.now() - startedAt)}`)
  } catch (error) {
    console.log(`failed after ${seconds(performance.now() - startedAt)}`)
    console.error(error instanceof CommandFailed ? error.message : error)
    process.exit(1)
  }
}

/** A command that was expected to succeed did not; the message is everything it printed. */
export class CommandFailed extends Error {
  constructor(what, { code, output }) {
    super(`${output.trimEnd()}\n\n${what} exited with ${code}`)
  }
}

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`

export const isMain = (url) => process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(url)
