// `npm run quickstart [-- arguments]`: installs, builds, then runs the document pipeline on real input.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { bootstrap } from './bootstrap.mjs'
import { build } from './build.mjs'
import { ROOT, runVisibly } from './run.mjs'

const MAIN = path.join(ROOT, 'examples', 'document-pipeline', 'dist', 'main.js')

await bootstrap()
await build()
if (!existsSync(MAIN)) {
  console.error(`the build left no ${path.relative(ROOT, MAIN)}`)
  process.exit(1)
}
console.log()
// npm runs scripts in the package's folder; a path given on the command line is meant from where the person stands.
process.exit(runVisibly(process.execPath, [MAIN, ...process.argv.slice(2)], { cwd: process.env.INIT_CWD ?? process.cwd() }))
