/*
 * pnpm bench [options]
 *
 *   --case <name>    only this case (again for more; a beginning such as `hot` takes all that begin so)
 *   --rounds <n>     rounds per case instead of the case's own number
 *   --quick          short slices, three rounds, small directories: to see that everything runs. Its figures mean nothing
 *   --dir <path>     where the disk cases work (a new directory in it, removed at the end). Default: the system's temporary one
 *   --docs           writes the tables of docs/performance.md from this run
 *   --from <file>    writes those tables from kept results instead of a run (again for more files: a later one's cases win)
 *   --profile <path> every process leaves a CPU profile there
 *   --list           the names of the cases
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cases } from './cases/index.mjs'
import { about } from './lib/about.mjs'
import { runCase } from './lib/driver.mjs'
import { pinningOf, warnIfNotPinned } from './lib/pinning.mjs'
import { GCS_NAME } from './lib/gcs-server.mjs'
import { redisVersion } from './lib/redis-server.mjs'
import { s3Name } from './lib/s3-server.mjs'
import { asText, barsOf, pageOf, rowsOf, summaryRows } from './lib/report.mjs'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const ROOT = path.dirname(HERE)
const PACKAGES = ['backend', 'core', 'object-store', 'memory', 'fs', 'redis', 's3', 'gcs']
const PAGE = path.join(ROOT, 'docs', 'performance.md')
const BEGIN = '<!-- measured: made by `pnpm bench --docs` -->'
const END = '<!-- end of measured -->'

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    dir: { type: 'string' },
    docs: { type: 'boolean', default: false },
    from: { type: 'string', multiple: true },
    profile: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})

if (options.list) console.log(cases.map((one) => one.name).join('\n'))
else if (options.from !== undefined) writePage(merged(options.from), options.from.map((file) => path.basename(file)))
else await main()

async function main() {
  const rounds = options.rounds === undefined ? undefined : Number(options.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new TypeError(`--rounds must be a positive whole number, not ${options.rounds}`)
  const chosen = whatCanRun(choose(options.case))
  if (chosen.length === 0) {
    process.exitCode = 1
    return
  }
  checkBuild()
  const root = fs.mkdtempSync(path.join(options.dir ?? os.tmpdir(), 'thermocline-bench-'))
  const clean = () => fs.rmSync(root, { recursive: true, force: true })
  process.once('SIGINT', () => {
    clean()
    process.exit(130)
  })
  const meta = describeMachine(root)
  const execArgv = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.resolve(options.profile)}`]
  const results = { meta, cases: [] }
  try {
    for (const spec of chosen) {
      const result = await runCase(spec, { rounds, quick: options.quick, root, execArgv, progress: showProgress(spec) }).catch((error) => {
        console.error(`\n${spec.name} was not measured: ${error.message}`)
        process.exitCode = 1
      })
      if (result === undefined) continue
      const { name, title, section, kind, baseline, against, columns, bars } = spec
      const one = { name, title, section, kind, baseline, against, columns, bars, ...result }
      results.cases.push(one)
      console.log(`\n${title} (${name}, ${one.rounds} rounds)\n${asText(rowsOf(one))}`)
    }
  } finally {
    clean()
  }
  meta.load.push(os.loadavg()[0])
  meta.seconds = Math.round((Date.now() - Date.parse(meta.startedAt)) / 1000)
  if (digestOfBuild() !== meta.build) {
    meta.buildChanged = true
    console.warn('\nThe packages were built anew during the run: the figures mix two builds.')
  }
  const rows = summaryRows(results)
  if (rows.length > 1) console.log(`\nBars${options.quick ? ' (a quick run: figures mean nothing)' : ''}\n${asText(rows)}`)
  if (options.quick) return
  const file = keep(results)
  if (options.docs) writePage(results, [file])
  const missed = results.cases.flatMap(barsOf).filter((bar) => !bar.met)
  console.log(`\n${missed.length === 0 ? 'Every bar was met.' : `${missed.length} missed: ${missed.map((bar) => bar.what).join('; ')}`}\nRaw results: bench/results/${file}`)
}

function choose(names) {
  if (names === undefined) return cases
  return names.flatMap((name) => {
    const exact = cases.filter((one) => one.name === name)
    const found = exact.length > 0 ? exact : cases.filter((one) => one.name.startsWith(name))
    if (found.length === 0) throw new TypeError(`--case ${name}: there is none; the cases are ${cases.map((one) => one.name).join(', ')}`)
    return found
  })
}

function whatCanRun(chosen) {
  const noRedis = redisVersion() === undefined ? 'no redis-server here (apt-get install redis-server, or REDIS_SERVER=<path>)' : undefined
  const noS3 = s3Name() === undefined ? 'no S3 server here (apt-get install --no-install-recommends ceph-mon ceph-osd radosgw, or S3_ENDPOINT=<address>)' : undefined
  const reasonOf = (spec) => (spec.redis ? noRedis : spec.s3 === undefined ? undefined : noS3)
  for (const reason of new Set(chosen.map(reasonOf).filter((reason) => reason !== undefined))) {
    const left = chosen.filter((spec) => reasonOf(spec) === reason).map(({ name }) => name)
    console.warn(`\n*** There is ${reason}: left out are ${left.join(', ')}. ***\n`)
  }
  const possible = chosen.filter((spec) => reasonOf(spec) === undefined)
  if (possible.some(({ placement }) => placement !== undefined)) warnIfNotPinned()
  return possible
}

function checkBuild() {
  for (const name of PACKAGES) {
    const dist = path.join(ROOT, 'packages', name, 'dist', 'bundle.js')
    if (!fs.existsSync(dist)) throw new Error(`packages/${name} is not built: run \`npm run build\` first`)
    const newest = (dir, end) => Math.max(0, ...filesIn(dir, end).map((file) => fs.statSync(file).mtimeMs))
    if (newest(path.join(ROOT, 'packages', name, 'src'), '.ts') > newest(path.dirname(dist), '') + 1000) {
      console.warn(`packages/${name}/src is newer than its build: \`npm run build\` builds it`)
    }
  }
}

function filesIn(dir, end) {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(end))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort()
}

function digestOfBuild() {
  const hash = createHash('sha256')
  for (const name of PACKAGES) for (const file of filesIn(path.join(ROOT, 'packages', name, 'dist'), '.js')) hash.update(fs.readFileSync(file))
  return hash.digest('hex').slice(0, 12)
}

function describeMachine(root) {
  return {
    ...about(),
    fileSystem: nameOfFileSystem(fs.statfsSync(root).type),
    redis: redisVersion(),
    s3: s3Name(),
    gcs: GCS_NAME,
    load: [os.loadavg()[0]],
    pinning: pinningOf(),
    build: digestOfBuild(),
  }
}

function nameOfFileSystem(type) {
  return { 0xef53: 'ext4', 0x58465342: 'xfs', 0x9123683e: 'btrfs', 0x01021994: 'tmpfs', 0x794c7630: 'overlayfs' }[type] ?? `type 0x${type.toString(16)}`
}

function showProgress(spec) {
  if (!process.stderr.isTTY) return () => undefined
  return (text) => process.stderr.write(`\r\u001b[K${spec.name}: ${text}\r`)
}

/** One line per contender: small enough to commit, and a diff shows what changed. */
function keep(results) {
  const file = `${results.meta.startedAt.slice(0, 19).replaceAll(':', '').replace('T', '-')}.json`
  fs.mkdirSync(path.join(HERE, 'results'), { recursive: true })
  const contendersOf = (one) =>
    Object.entries(one.contenders)
      .map(([name, result]) => `      ${JSON.stringify(name)}: ${JSON.stringify(result)}`)
      .join(',\n')
  const caseText = ({ contenders, ...rest }) => `    { "about": ${JSON.stringify(rest)},\n      "contenders": {\n${contendersOf({ contenders })}\n      } }`
  const text = `{\n  "meta": ${JSON.stringify(results.meta)},\n  "cases": [\n${results.cases.map(caseText).join(',\n')}\n  ]\n}\n`
  fs.writeFileSync(path.join(HERE, 'results', file), text)
  return file
}

/** Kept results as one; a case that is in several comes from the last, and knows what it was measured with. */
function merged(files) {
  const read = files.map((file) => JSON.parse(fs.readFileSync(file, 'utf8')))
  const latest = new Map(read.flatMap(({ meta, cases: kept }) => kept.map(({ about, contenders }) => [about.name, { ...about, contenders, meta }])))
  return { meta: Object.assign({}, ...read.map(({ meta }) => meta)), cases: cases.flatMap((spec) => latest.get(spec.name) ?? []) }
}

function writePage(results, files) {
  const page = fs.readFileSync(PAGE, 'utf8')
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`docs/performance.md must have the lines ${BEGIN} and ${END}`)
  fs.writeFileSync(PAGE, `${page.slice(0, begin)}${BEGIN}\n\n${pageOf(results, files)}\n\n${page.slice(end)}`)
}
