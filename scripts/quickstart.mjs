// `npm run quickstart [-- documents|media] [-- arguments]`: installs, builds, then runs the pipelines on real input: both, or the
// one that is named; arguments without a name are for the documents.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { bootstrap } from './bootstrap.mjs'
import { build } from './build.mjs'
import { ROOT, runVisibly } from './run.mjs'

const PIPELINES = { documents: 'document-pipeline', media: 'media-pipeline' }

const [first, ...rest] = process.argv.slice(2)
const isNamed = first !== undefined && Object.hasOwn(PIPELINES, first)
const args = isNamed ? rest : process.argv.slice(2)
const names = isNamed ? [first] : args.length > 0 ? ['documents'] : Object.keys(PIPELINES)

await bootstrap()
await build()
for (const name of names) {
  const main = path.join(ROOT, 'examples', PIPELINES[name], 'dist', 'main.js')
  if (!existsSync(main)) {
    console.error(`the build left no ${path.relative(ROOT, main)}`)
    process.exit(1)
  }
  console.log(names.length > 1 ? `\n=== ${name} ===\n` : '')
  // npm runs scripts in the package's folder; a path given on the command line is meant from where the person stands.
  const code = runVisibly(process.execPath, [main, ...args], { cwd: process.env.INIT_CWD ?? process.cwd() })
  if (code !== 0) process.exit(code)
}
