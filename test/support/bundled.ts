import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface Ended {
  /** `null`: it was ended by a signal. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a TypeScript program beside the tests in a process of its own, on the sources: what would end that process ends no test runner. */
export function runBundled(program: string, args: readonly string[] = [], nodeOptions: readonly string[] = []): Ended {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-bundle-'))
  try {
    const bundle = path.join(directory, 'program.mjs')
    const made = spawnSync(path.join(root, 'node_modules/esbuild/bin/esbuild'), [
      path.join(root, program), '--bundle', '--platform=node', '--format=esm', '--log-level=error', `--outfile=${bundle}`,
      ...['backend', 'core', 'memory', 'object-store'].map((name) => `--alias:@thermocline/${name}=${path.join(root, 'packages', name, 'src/index.ts')}`),
      "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    ], { cwd: root, encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`${program} cannot be bundled: ${made.stderr}`)
    return spawnSync(process.execPath, [...nodeOptions, bundle, ...args], { encoding: 'utf8', timeout: 280_000 })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
