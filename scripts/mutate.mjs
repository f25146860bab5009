// `npm run mutate [-- --sample N --seed S --place NAME --fresh --concurrency N]`: sets small faults (mutants) in the places that hold the
// promises, one at a time, and runs the suites that guard each place. A mutant that no suite notices is a test that is missing, or has an
// explanation in scripts/mutation/explained.json. docs/testing.md has more.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { PLACES } from './mutation/places.mjs'
import { mutantsOf, runMutants } from './mutation/stryker.mjs'
import { describeMutant, Explanations } from './mutation/survivors.mjs'
import { cacheDirectory, ROOT } from './run.mjs'

const GOAL = 0.88

const { values: options } = parseArgs({
  options: {
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    place: { type: 'string', multiple: true, default: Object.keys(PLACES) },
    concurrency: { type: 'string', default: '1' },
    fresh: { type: 'boolean', default: false },
  },
})
for (const place of options.place) if (!(place in PLACES)) fail(`there is no place "${place}", only ${Object.keys(PLACES).join(', ')}`)
const size = options.sample === undefined ? undefined : wholeNumber('sample')
const concurrency = wholeNumber('concurrency')

os.setPriority(10) // others use the machine too
const sample = size === undefined ? undefined : await draw(size)
const results = []
for (const name of options.place) {
  const { files, guards } = PLACES[name]
  const missing = [...files, ...guards].filter((file) => !existsSync(path.join(ROOT, file)))
  if (missing.length > 0) fail(`the place "${name}" in scripts/mutation/places.mjs names ${missing.join(', ')}, which is not there`)
  if (sample === undefined) for (const file of files) results.push(...(await resultsOf(name, file, guards)))
  else {
    const chosen = files.filter((file) => sample.some((mutant) => mutant.file === file))
    if (chosen.length > 0) results.push(...(await run(name, chosen, guards, new Set(sample.map(({ id }) => id)))))
  }
}
process.exitCode = report(results)

/** A whole file's results, from the last run if neither it nor its guards have changed since. */
async function resultsOf(place, file, guards) {
  const kept = path.join(cacheDirectory('results', 'mutation'), `${file.replaceAll('/', '+')}.json`)
  const hash = createHash('sha256')
  for (const name of [file, ...guards, 'scripts/mutation/stryker.mjs']) hash.update(readFileSync(path.join(ROOT, name)))
  const state = hash.digest('hex')
  if (!options.fresh && existsSync(kept)) {
    const last = JSON.parse(readFileSync(kept, 'utf8'))
    if (last.state === state) return last.mutants
  }
  const mutants = await run(place, [file], guards)
  writeFileSync(kept, JSON.stringify({ state, mutants }))
  return mutants
}

async function run(place, files, guards, ids) {
  console.log(`${place}: ${files.join(', ')}`)
  const texts = new Map(files.map((file) => [file, readFileSync(path.join(ROOT, file), 'utf8')]))
  let found
  try {
    found = await runMutants(files, guards, { ids, concurrency })
  } catch (error) {
    fail(`the suites of the place "${place}" do not pass without mutants, or could not be run: ${error.message}`)
  }
  const described = found.map((mutant) => ({ place, ...describeMutant(mutant, texts), status: mutant.status }))
  const survived = described.filter(isSurvivor)
  console.log(`${described.length} set, ${survived.length} survived`)
  for (const { file, line, from, to } of survived) console.log(`  ${file}:${line} ${from} => ${to}`)
  return described
}

/** `count` mutants of all places, the same for the same seed and sources. */
async function draw(count) {
  const all = await mutantsOf(options.place.flatMap((place) => PLACES[place].files))
  const order = (id) => createHash('sha256').update(`${options.seed}\n${id}`).digest('hex')
  return all.map((mutant) => ({ ...mutant, order: order(mutant.id) })).sort((a, b) => (a.order < b.order ? -1 : 1)).slice(0, count)
}

/** Writes and prints what came of it; returns the exit code. */
function report(mutants) {
  const explanations = new Explanations()
  const survivors = mutants.filter(isSurvivor).map((mutant) => ({ ...mutant, why: explanations.whyOf(mutant) }))
  const unexplained = survivors.filter(({ why }) => why === undefined)
  const broken = mutants.filter(({ status }) => status === 'RuntimeError' || status === 'CompileError')
  const hung = mutants.filter(({ status }) => status === 'Timeout').length
  const counted = mutants.length - broken.length
  const rate = (counted - survivors.length) / counted
  const lines = ['# Mutants', '', `${counted} set${size === undefined ? '' : ` (a sample, seed ${options.seed})`}, ${counted - survivors.length} noticed: ${percent(rate)}${hung === 0 ? '' : ` (${hung} because something hung)`}. ${survivors.length} survived, ${unexplained.length} of them unexplained.`, '']
  lines.push('| place | set | noticed | survived | unexplained |', '| --- | ---: | ---: | ---: | ---: |')
  for (const place of options.place) {
    const of = (list) => list.filter((mutant) => mutant.place === place).length
    const set = of(mutants) - of(broken)
    if (set > 0) lines.push(`| ${place} | ${set} | ${percent((set - of(survivors)) / set)} | ${of(survivors)} | ${of(unexplained)} |`)
  }
  for (const [title, list] of [['Unexplained survivors', unexplained], ['Explained survivors', survivors.filter(({ why }) => why !== undefined)]]) {
    if (list.length > 0) lines.push('', `## ${title}`, '')
    for (const { file, line, where, mutator, from, to, why, status } of list) {
      lines.push(`- ${file}:${line} ${where}, ${mutator}${status === 'NoCoverage' ? ', reached by no test' : ''}: \`${from}\` to \`${to}\`${why === undefined ? '' : `. ${why}`}`)
    }
  }
  const unused = size === undefined ? explanations.unused(new Set(mutants.map(({ file }) => file))) : []
  if (unused.length > 0) lines.push('', '## Explanations of nothing', '', ...unused.map(({ file, where, from, to }) => `- ${file} ${where}: \`${from}\` to \`${to}\``))
  writeFileSync(path.join(cacheDirectory('results'), 'mutation.json'), JSON.stringify({ rate, sample: size, seed: options.seed, mutants: mutants.map((mutant) => ({ ...mutant, why: survivors.find((one) => one.file === mutant.file && one.line === mutant.line && one.from === mutant.from && one.to === mutant.to)?.why })), unused }, undefined, 1))
  writeFileSync(path.join(cacheDirectory('results'), 'mutation.md'), `${lines.join('\n')}\n`)
  console.log(lines.join('\n'))
  console.log('\nThe same is in .cache/results/mutation.md, every mutant in .cache/results/mutation.json')
  if (rate < GOAL) console.log(`Fewer than ${percent(GOAL)} were noticed.`)
  return unexplained.length > 0 || rate < GOAL ? 1 : 0
}

function isSurvivor({ status }) {
  return status === 'Survived' || status === 'NoCoverage'
}

function percent(part) {
  return `${(part * 100).toFixed(1)} %`
}

function wholeNumber(option) {
  const value = Number(options[option])
  if (!Number.isInteger(value) || value < 1) fail(`--${option} must be a positive whole number, not ${JSON.stringify(options[option])}`)
  return value
}

function fail(message) {
  console.error(message)
  process.exit(2)
}
