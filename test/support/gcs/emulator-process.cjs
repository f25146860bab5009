// The Cloud Storage emulator of firebase-tools alone, as a process: without its command line, which starts a hub, and without the Java
// program that judges security rules, which requests with the credentials of a server do not ask.
// Arguments: the folder of firebase-tools, the port.
const path = require('node:path')

const [, , folder, port] = process.argv
const load = (name) => require(path.join(folder, 'lib', 'emulator', name))
const { StorageEmulator } = load('storage')
const { EmulatorRegistry } = load('registry')
const { createApp } = load('storage/server')
const express = require(require.resolve('express', { paths: [folder] }))

const projectId = 'thermocline-tests'
const emulator = new StorageEmulator({ projectId, host: '127.0.0.1', port: Number(port), rules: { name: 'none', content: '' }, auto_download: false })
// The addresses of upload sessions: on the host that the client named, so that they lead through a proxy when it came through one.
EmulatorRegistry.url = (_emulator, request) => new URL(`http://${request?.headers.host ?? `127.0.0.1:${port}`}`)

createApp(projectId, emulator).then((app) => {
  const outer = express()
  // The emulator knows PATCH and copies without this prefix only, which the client leaves out when STORAGE_EMULATOR_HOST is set.
  outer.use((request, _response, next) => {
    request.url = request.url.replace(/^\/storage\/v1\/b(?=[/?]|$)/, '/b')
    next()
  })
  outer.use(app)
  outer.listen(Number(port), '127.0.0.1')
})
