import { describe } from '@jest/globals'
import { findOpenssl, findRedis } from '../servers/binaries.mjs'

const redis = findRedis()
const openssl = findOpenssl()

/** Whether there is a redis-server that these helpers can start. */
export function redisAvailable(): boolean {
  return redis.missing === undefined
}

/** Whether there is what `startTlsRedis` needs. */
export function tlsAvailable(): boolean {
  return redisAvailable() && openssl !== undefined
}

/** Of the redis-server: 7.0.15 as [7, 0, 15]. */
export function redisVersion(): readonly [major: number, minor: number, patch: number] {
  const [major = 0, minor = 0, patch = 0] = (redis.version ?? '').split('.').map(Number)
  return [major, minor, patch]
}

/** `describe` for suites on a real Redis. Where there is none the suite is skipped, counted, and says why in its name. */
export function describeRedis(name: string, body: () => void): void {
  if (redisAvailable()) describe(name, body)
  else describe.skip(`${name} [skipped: ${redis.missing}]`, body)
}

/** The same for suites that also need certificates. */
export function describeTls(name: string, body: () => void): void {
  if (openssl !== undefined || !redisAvailable()) describeRedis(name, body)
  else describe.skip(`${name} [skipped: there is no openssl on the path]`, body)
}

/** @internal */
export function redisProgram(): string {
  if (redis.missing !== undefined) throw new Error(`cannot start a Redis server: ${redis.missing}`)
  return redis.file
}

/** @internal */
export function opensslProgram(): string {
  if (openssl === undefined) throw new Error('cannot make certificates: there is no openssl on the path')
  return openssl
}
