/*
 * The programs that the real servers of the tests need, found without starting a shell. Plain JavaScript, because
 * scripts/servers.mjs asks before anything is compiled.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'

const OLDEST_REDIS = [6, 2]

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

function versionOf(file) {
  try {
    return /v=(\d+\.\d+\.\d+)/.exec(execFileSync(file, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5_000 }))?.[1]
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
