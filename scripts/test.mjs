// `npm test [-- jest arguments]`: installs, builds, then runs every test. Nothing but Node and npm has to be there.
import { bootstrap } from './bootstrap.mjs'
import { build } from './build.mjs'
import { jest } from './jest.mjs'

await bootstrap()
await build()
process.exit(jest('tests', process.argv.slice(2)))
