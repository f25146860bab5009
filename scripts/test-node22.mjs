// Runs the suites of the packages once more, on Node 22, whatever Node runs this script.
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { bootstrap } from './bootstrap.mjs'
import { jest } from './jest.mjs'
import { cacheDirectory, CommandFailed, phase, runQuietly } from './run.mjs'
import { ensureServers } from './servers.mjs'

const SUITES = ['backend', 'core', 'object-store', 'memory', 'fs', 'redis', 's3', 'gcs', 'config'].map((name) => `packages/${name}/test/`)

await bootstrap()
await ensureServers()
const node = await node22()
process.exit(jest('tests-node22', [...SUITES, ...process.argv.slice(2)], { node }))

/** The path of a Node 22 binary: this one if it is, else npm's `node` package for this platform, kept in `.cache`. */
async function node22() {
  if (process.versions.node.startsWith('22.')) return process.execPath
  const directory = cacheDirectory('node22')
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const prefix = process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'
  const name = `${prefix}-${platform}-${process.arch}` // the package `node` installs this one in an install script, which npm may refuse to run
  const binary = path.join(directory, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  await phase('fetching Node 22', async () => {
    if (existsSync(binary)) return 'up to date'
    writeFileSync(path.join(directory, 'package.json'), '{ "private": true }\n')
    const done = await runQuietly('npm', ['install', `${name}@22`, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory })
    if (done.code !== 0) throw new CommandFailed(`npm install ${name}@22`, done)
  })
  return binary
}
