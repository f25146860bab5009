/*
 * The strict Cloud Storage server of the tests, in a process of its own. There is no server of Google's to run, so it is not the store that is measured, but
 * what a library adds to its calls: the server is one process of Node, and slower than a library where it has to take checksums of megabytes.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import process from 'node:process'
import { onCore } from './pinning.mjs'
import { bundleOfSupport } from './test-support.mjs'

const PROGRAM = `
import { startStrictGcs } from './gcs/strict-server.js'
const server = await startStrictGcs()
setInterval(() => (server.requests.length = 0), 1000) // it keeps them, for tests
process.on('message', async () => process.send(await server.createBucket()))
process.on('disconnect', () => process.exit())
process.send(server.storageOptions())
`

/** What the GCS cases run on, for people. */
export const GCS_NAME = 'a strict server of the project’s own, one process of Node'

/** @param core where it runs; `undefined`: anywhere */
export async function startGcs({ core } = {}) {
  const file = await bundleOfSupport('gcs-server', PROGRAM)
  const [execPath, execArgv] = onCore(core, process.execPath, [])
  const server = fork(file, [], { execPath, execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const ended = once(server, 'exit')
  const answer = () => Promise.race([once(server, 'message').then(([message]) => message), ended.then(([code]) => Promise.reject(new Error(`the GCS server ended with code ${code}`)))])
  const options = await answer()
  fs.rmSync(file)
  return {
    clientConfig: () => options,
    createBucket() {
      const bucket = answer()
      server.send('a bucket')
      return bucket
    },
    async stop() {
      if (server.connected) server.disconnect()
      await ended
    },
  }
}
