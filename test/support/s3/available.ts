import { describe } from '@jest/globals'
import { type Ceph, type CephProgram, findCeph, findDocker } from '../servers/binaries.mjs'

const isGiven = (process.env.S3_ENDPOINT ?? '') !== ''
const docker = isGiven ? undefined : findDocker()
let foundCeph: ReturnType<typeof findCeph> | undefined

function ceph(): ReturnType<typeof findCeph> {
  return (foundCeph ??= findCeph())
}

/** Which server `startS3` starts by itself: what S3_ENDPOINT names, else LocalStack where a Docker engine answers, else Ceph. */
export function s3Kind(): 'given' | 'localstack' | 'ceph' | undefined {
  if (isGiven) return 'given'
  if (docker?.missing === undefined) return 'localstack'
  return ceph().missing === undefined ? 'ceph' : undefined
}

/** `describe` for suites on any S3 server. Where there is none the suite is skipped, counted, and says why in its name. */
export function describeS3(name: string, body: () => void): void {
  if (s3Kind() !== undefined) describe(name, body)
  else describe.skip(`${name} [skipped: S3_ENDPOINT is not set; ${docker?.missing}; ${ceph().missing}]`, body)
}

/**
 * The same for suites on `startCeph`: those in which the server is paused or killed, a lifecycle rule is seen to work, or the
 * wrong user is refused.
 */
export function describeCeph(name: string, body: () => void): void {
  const { missing } = ceph()
  if (missing === undefined) describe(name, body)
  else describe.skip(`${name} [skipped: ${missing}]`, body)
}

/** @internal */
export function dockerProgram(): string {
  if (docker?.file === undefined) throw new Error(`cannot start LocalStack: ${docker?.missing}`)
  return docker.file
}

/** @internal */
export function cephPrograms(): Readonly<Record<CephProgram, string>> {
  const found: Ceph | { readonly missing: string } = ceph()
  if (found.missing !== undefined) throw new Error(`cannot start Ceph: ${found.missing}`)
  return found.files
}
