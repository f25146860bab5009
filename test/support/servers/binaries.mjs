/*
 * The programs that the real servers of the tests need, found without starting a shell. Plain JavaScript, because
 * scripts/servers.mjs asks before anything is compiled.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const OLDEST_REDIS = [6, 2]
const CEPH_PROGRAMS = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'monmaptool', 'osdmaptool']

/** The redis-server to use: what REDIS_SERVER names, else the one on the path. Says what is wrong where there is none. */
export function findRedis() {
  const wished = process.env.REDIS_SERVER
  const file = wished === undefined || wished === '' ? onPath('redis-server') : onPath(wished)
  if (file === undefined) return { missing: wished ? `REDIS_SERVER names ${wished}, which is no program` : 'there is no redis-server on the path' }
  const version = versionOf(file)
  if (version === undefined) return { missing: `${file} does not say which version of Redis it is` }
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_REDIS
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) return { missing: `${file} is Redis ${version}, older than ${OLDEST_REDIS.join('.')}` }
  return { file, version }
}

/** The openssl to make certificates with. */
export function findOpenssl() {
  return onPath('openssl')
}

/**
 * The programs of Ceph that together make an S3 server: a monitor, a store (OSD), the gateway that speaks S3, and the
 * tools that set them up. Distributions put them into several packages, so some may be there without the others.
 */
export function findCeph() {
  const files = Object.fromEntries(CEPH_PROGRAMS.map((name) => [name, onPath(name)]))
  const absent = CEPH_PROGRAMS.filter((name) => files[name] === undefined)
  if (absent.length > 0) return { missing: `there is no ${absent.join(', ')} on the path` }
  const version = firstMatch(/version (\d+\.\d+\.\d+)/, files.radosgw, ['--version'])
  if (version === undefined) return { missing: `${files.radosgw} does not say which version of Ceph it is` }
  return { files, version }
}

/** A docker command whose engine answers. */
export function findDocker() {
  const file = onPath('docker')
  if (file === undefined) return { missing: 'there is no docker on the path' }
  const version = firstMatch(/^(\d\S*)/, file, ['version', '--format', '{{.Server.Version}}'])
  if (version === undefined) return { missing: 'no Docker engine answers' }
  return { file, version }
}

/** The version whose storage emulator the tests use; newer ones may move the modules that `emulator-process.cjs` loads. */
export const FIREBASE_TOOLS_VERSION = '15.34.2'

/** Where scripts/servers.mjs puts firebase-tools: 220 MB, which is too much for a dependency of the workspace. */
export function firebaseToolsFolder() {
  return path.join(ROOT, '.cache', `firebase-tools-${FIREBASE_TOOLS_VERSION}`)
}

/** A firebase-tools that is there as a whole: its folder gets this name when it is complete, so a damaged one was damaged later. */
export function findFirebaseTools(folder = firebaseToolsFolder()) {
  const file = path.join(folder, 'node_modules', 'firebase-tools')
  try {
    const { version } = JSON.parse(readFileSync(path.join(file, 'package.json'), 'utf8'))
    accessSync(path.join(file, 'lib', 'emulator', 'storage', 'server.js'))
    if (version === FIREBASE_TOOLS_VERSION) return { file, version }
  } catch {
    // the same answer
  }
  return { missing: `there is no firebase-tools ${FIREBASE_TOOLS_VERSION} in ${path.relative(ROOT, folder)}` }
}

function versionOf(file) {
  return firstMatch(/v=(\d+\.\d+\.\d+)/, file, ['--version'])
}

/** What the expression finds in what a program prints. */
function firstMatch(expression, file, args) {
  try {
    return expression.exec(execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5_000 }))?.[1]
  } catch {
    return undefined
  }
}

/** The whole path of a program named by its name or by a path. */
function onPath(name) {
  if (name.includes(path.sep)) return isProgram(path.resolve(name)) ? path.resolve(name) : undefined
  for (const directory of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(directory, name)
    if (directory !== '' && isProgram(file)) return file
  }
  return undefined
}

function isProgram(file) {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
