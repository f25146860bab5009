// Sees to the servers that the tests start: redis-server, openssl for its certificates, the S3 gateway of Ceph, and the Cloud Storage
// emulator of firebase-tools. What is missing is installed where that is ours to do: Debian packages as root, firebase-tools into a
// folder of the project. Else its suites are left out, loudly.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { findCeph, findDocker, findFirebaseTools, findOpenssl, findRedis } from '../test/support/servers/binaries.mjs'
import { installFirebaseTools } from './firebase-tools.mjs'
import { isMain, phase, runQuietly } from './run.mjs'

/** What the init scripts of a package ask whether they may start its service; 101 is no. */
const POLICY = '/usr/sbin/policy-rc.d'

/** Finds or installs the servers. Never fails: the suites themselves look again and are skipped, which counts them. */
export async function ensureServers() {
  const failures = []
  let found = look()
  await phase('looking for servers', async () => {
    for (const packages of canInstall() ? found.packages : []) {
      const done = await install(packages)
      if (done.code !== 0) failures.push(`${done.output.trimEnd()}\n\napt-get install ${packages.join(' ')} exited with ${done.code}`)
    }
    if (findFirebaseTools().missing !== undefined) {
      const { failure } = await installFirebaseTools()
      if (failure !== undefined) failures.push(failure)
    }
    found = look()
    return found.note
  })
  if (found.problems.length === 0) return
  for (const failure of failures) console.error(`\n${failure}\n`)
  console.error('!!! SUITES WILL BE LEFT OUT; they are named below the results and count as skipped there')
  for (const problem of found.problems) console.error(`!!!   ${problem}`)
}

/** What is there (`note`), what that leaves out (`problems`), and which Debian packages would help: in groups, as some may not be to be had. */
function look() {
  const redis = findRedis()
  const openssl = findOpenssl()
  const ceph = findCeph()
  const firebaseTools = findFirebaseTools()
  const isS3Given = Boolean(process.env.S3_ENDPOINT)
  const otherS3 = isS3Given ? 'the S3 server that S3_ENDPOINT names' : findDocker().missing === undefined ? 'LocalStack' : undefined

  const problems = []
  if (redis.missing !== undefined) problems.push(`every suite that needs Redis: ${redis.missing}. Install Redis 6.2 or newer, or name its redis-server in REDIS_SERVER`)
  if (openssl === undefined) problems.push('every suite that needs certificates: there is no openssl on the path')
  if (ceph.missing !== undefined && otherS3 === undefined) problems.push(`every suite that needs S3: ${ceph.missing}. Install Ceph's monitor, OSD and gateway, start Docker, or name a server in S3_ENDPOINT`)
  if (ceph.missing !== undefined && otherS3 !== undefined) problems.push(`the suites that pause or kill the S3 server, or need its short days and its second user: ${ceph.missing}, and ${otherS3} is no help in that`)
  if (firebaseTools.missing !== undefined) problems.push(`the suites on the Cloud Storage emulator: ${firebaseTools.missing}. Those on the strict server run`)

  const small = []
  if (redis.missing !== undefined && !process.env.REDIS_SERVER) small.push('redis-server') // who named another one means that one
  if (openssl === undefined) small.push('openssl')
  const large = ceph.missing === undefined || isS3Given ? [] : ['ceph-mon', 'ceph-osd', 'radosgw']
  const note = [
    redis.missing === undefined ? `redis-server ${redis.version}` : 'no redis-server',
    ceph.missing === undefined ? `Ceph ${ceph.version}` : 'no Ceph',
    ...(otherS3 === undefined ? [] : [otherS3]),
    firebaseTools.missing === undefined ? `firebase-tools ${firebaseTools.version}` : 'no firebase-tools',
  ].join(', ')
  return { problems, packages: [small, large].filter(({ length }) => length > 0), note }
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
