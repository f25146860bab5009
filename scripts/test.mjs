// `npm test [-- jest arguments]`: installs, builds, then runs every test. Nothing but Node and npm has to be there; without
// a server, and where none can be installed, the suites that need it are left out.
import { bootstrap } from './bootstrap.mjs'
import { build } from './build.mjs'
import { jest } from './jest.mjs'
import { ensureServers } from './servers.mjs'

await bootstrap()
await build()
await ensureServers()
process.exit(jest('tests', process.argv.slice(2)))
