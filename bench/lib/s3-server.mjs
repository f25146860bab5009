/*
 * The S3 server of the tests for a case: what S3_ENDPOINT names, else LocalStack where a Docker engine answers, else a Ceph cluster of the
 * benchmark's own that keeps everything in memory. Its guardian ends the servers with this process, however that ends.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'
import { findCeph, findDocker } from '../../test/support/servers/binaries.mjs'
import { bundleOfSupport } from './test-support.mjs'

// The SDK says on Node 20, in every process, that releases to come will not support it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

let bundled

/** What the S3 cases run on, for people; `undefined` where there is nothing. */
export function s3Name() {
  if ((process.env.S3_ENDPOINT ?? '') !== '') return `the store at ${new URL(process.env.S3_ENDPOINT).host}`
  if (findDocker().missing === undefined) return 'LocalStack'
  const { missing, version } = findCeph()
  return missing === undefined ? `Ceph ${version}, a gateway and one store in memory` : undefined
}

/**
 * @param core where a server of our own runs; `undefined`: anywhere
 * @param storeMegabytes how much a Ceph of our own takes
 */
export async function startS3({ core, storeMegabytes = 1024 } = {}) {
  const support = await (bundled ??= bundle())
  const server = support.s3Kind() === 'ceph' ? await support.startCeph({ storeMegabytes }) : await support.startS3()
  if (core !== undefined) for (const pid of server.pids ?? []) execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' })
  return { clientConfig: () => server.clientConfig(), createBucket: () => server.createBucket(), stop: () => toTheEnd(() => server.stop()) }
}

/** The server's processes do not keep this one running, so something else must while their end is waited for. */
async function toTheEnd(work) {
  const stays = setInterval(() => undefined, 1000)
  try {
    await work()
  } finally {
    clearInterval(stays)
  }
}

async function bundle() {
  const file = await bundleOfSupport('s3-server', "export { startCeph } from './s3/ceph.js'; export { startS3 } from './s3/start.js'; export { s3Kind } from './s3/available.js'")
  try {
    return await import(pathToFileURL(file).href)
  } finally {
    fs.rmSync(file)
  }
}
