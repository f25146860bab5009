// Sees to the programs that the tests start as real servers: redis-server, and openssl for its certificates. What is
// missing is installed where that is ours to do (root, on Debian or Ubuntu); else its suites are left out, loudly.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { findOpenssl, findRedis } from '../test/support/servers/binaries.mjs'
import { isMain, phase, runQuietly } from './run.mjs'

/** What the init scripts of a package ask whether they may start its service; 101 is no. */
const POLICY = '/usr/sbin/policy-rc.d'

/** Finds or installs the servers. Never fails: the suites themselves look again and are skipped, which counts them. */
export async function ensureServers() {
  let found = look()
  let installed
  await phase('looking for servers', async () => {
    if (found.packages.length > 0 && canInstall()) {
      installed = await install(found.packages)
      found = look()
    }
    return found.note
  })
  if (found.problems.length === 0) return
  if (installed !== undefined && installed.code !== 0) console.error(`\n${installed.output.trimEnd()}\n\napt-get install exited with ${installed.code}\n`)
  console.error('!!! SUITES WILL BE LEFT OUT; they are named below the results and count as skipped there')
  for (const problem of found.problems) console.error(`!!!   ${problem}`)
}

function look() {
  const redis = findRedis()
  const openssl = findOpenssl()
  const problems = []
  if (redis.missing !== undefined) problems.push(`every suite that needs Redis: ${redis.missing}. Install Redis 6.2 or newer, or name its redis-server in REDIS_SERVER`)
  if (openssl === undefined) problems.push('every suite that needs certificates: there is no openssl on the path')
  const packages = []
  if (redis.missing !== undefined && !process.env.REDIS_SERVER) packages.push('redis-server') // who named another one means that one
  if (openssl === undefined) packages.push('openssl')
  return { problems, packages, note: redis.missing === undefined ? `redis-server ${redis.version}` : 'no redis-server' }
}

function canInstall() {
  return process.platform === 'linux' && process.getuid() === 0 && existsSync('/usr/bin/apt-get')
}

/** Installs Debian packages; refreshes the package lists only when it did not work with those there are. */
function install(packages) {
  return withoutServices(async () => {
    const first = await aptGet('install', '-y', '--no-install-recommends', ...packages)
    if (first.code === 0) return first
    await aptGet('update')
    return aptGet('install', '-y', '--no-install-recommends', ...packages)
  })
}

/** Does the work under a policy that lets no package start its service; takes the policy away again, also when interrupted. */
async function withoutServices(work) {
  if (existsSync(POLICY)) return work() // containers mostly have one that says the same
  const remove = () => rmSync(POLICY, { force: true })
  const leave = () => process.exit(130)
  process.once('exit', remove).once('SIGINT', leave).once('SIGTERM', leave)
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return await work()
  } finally {
    remove()
    process.off('exit', remove).off('SIGINT', leave).off('SIGTERM', leave)
  }
}

function aptGet(...args) {
  return runQuietly('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], { env: { DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', RUNLEVEL: '1' } })
}

if (isMain(import.meta.url)) await ensureServers()
