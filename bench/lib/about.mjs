/* What a run was made with. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const BENCH = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

export function about() {
  return { startedAt: new Date().toISOString(), node: process.versions.node, cores: os.cpus().length, platform: `${process.platform} ${process.arch}`, commit: commit(), versions: versions() }
}

function commit() {
  try {
    const git = (...args) => execFileSync('git', args, { cwd: path.dirname(BENCH), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', 'packages').length > 0 ? ', changed' : '')
  } catch {
    return 'unknown'
  }
}

function versions() {
  const { devDependencies } = JSON.parse(fs.readFileSync(path.join(BENCH, 'package.json'), 'utf8'))
  const versionOf = (name) => JSON.parse(fs.readFileSync(path.join(BENCH, 'node_modules', name, 'package.json'), 'utf8')).version
  return Object.fromEntries(Object.keys(devDependencies).map((name) => [name, versionOf(name)]))
}
