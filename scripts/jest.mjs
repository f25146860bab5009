// Runs jest with a given Node binary and reports what it counted, skipped tests by name.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { cacheDirectory, ROOT, runBeside, runQuietly } from './run.mjs'

/**
 * Suites that mostly wait: for an outage to be over, a budget, a process. They run one after the other beside all the others, which have a
 * process for each of two processors. What asks most of the processors must not stand here.
 */
const WAITING = [
  'examples/media-pipeline/',
  'packages/core/test/thread-pool',
  'packages/fs/test/(frozen-disk|disk-faults)',
  'packages/gcs/test/faults',
  'packages/redis/test/(connection|far-away|late-delivery|outages|reply-filter|secrets)',
  'packages/s3/test/faults',
  'test/bundling/',
  'test/cold/late-puts',
  'test/history/(broken|one-manager|several-managers)',
  'test/promises/(journal-hazards|journal-outage)',
].map((suite) => `/${suite}`)
const NEVER = ['/node_modules/', '/dist/'] // as in jest.config.mjs: the command line takes the place of what stands there

/**
 * Runs jest and prints the totals. Results stay in `.cache/results/<name>.json` for whoever adds them up.
 *
 * @param suites which suites, as jest's patterns; none: all, those that mostly wait beside the others
 * @param args more arguments of jest's
 * @returns jest's exit code
 */
export async function jest(name, { suites = [], args = [], node = process.execPath }) {
  const file = path.join(cacheDirectory('results'), `${name}.json`)
  rmSync(file, { force: true }) // a run that dies must not leave the last run's counts
  const lanes = args.length > 0
    ? [{ args: [...suites, ...args] }]
    : [
        { args: [...suites, '--testPathIgnorePatterns', ...NEVER, ...WAITING] },
        { args: [...WAITING.filter((suite) => suites.length === 0 || suites.some((chosen) => suite.includes(chosen))), '--maxWorkers', '1'], quietly: true },
      ]
  const runs = await Promise.all(lanes.map((lane, at) => run(node, lane, path.join(cacheDirectory('results'), `${name}-${at + 1}.json`))))
  if (runs.every(({ results }) => results !== undefined)) {
    const all = merged(runs.map(({ results }) => results))
    writeFileSync(file, JSON.stringify(all))
    report(all)
  } else console.error('jest ended without results')
  return runs.find(({ code }) => code !== 0)?.code ?? 0
}

/** One process of jest's. `quietly`: what it says comes at its end, in one piece. */
async function run(node, { args, quietly = false }, file) {
  rmSync(file, { force: true })
  const command = [
    '--experimental-vm-modules',
    ...(process.allowedNodeEnvironmentFlags.has('--disable-warning') ? ['--disable-warning=ExperimentalWarning'] : []), // since Node 20.11
    path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'),
    '--json',
    `--outputFile=${file}`,
    ...args,
  ]
  const { code, output } = quietly ? await runQuietly(node, command) : { code: await runBeside(node, command) }
  if (output !== undefined) console.log(output)
  const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined
  rmSync(file, { force: true })
  return { code, results }
}

/** As if it had been one run. */
function merged(all) {
  const counts = Object.keys(all[0]).filter((name) => name.startsWith('num'))
  return {
    ...all[0],
    success: all.every(({ success }) => success),
    testResults: all.flatMap(({ testResults }) => testResults),
    ...Object.fromEntries(counts.map((name) => [name, all.reduce((sum, results) => sum + results[name], 0)])),
  }
}

/** How the conformance suite ends the title of a check for which the backend says itself that it does not concern it. */
const DOES_NOT_APPLY = /\[does not apply: [^\]]*\]$/

/** A suite that could not be loaded counts as one failure. What does not apply is not skipped: nothing was left out. */
function totals(results) {
  const inapplicable = results.testResults.flatMap(({ assertionResults }) => assertionResults.filter(({ title }) => DOES_NOT_APPLY.test(title))).length
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
    skipped: results.numPendingTests + results.numTodoTests - inapplicable,
    inapplicable,
  }
}

function report(results) {
  const { passed, failed, skipped, inapplicable } = totals(results)
  const groups = skippedGroups(results)
  if (groups.length > 0) {
    console.log('\n!!! LEFT OUT (a suite says why in its own name, in brackets):')
    for (const { title, file, count } of groups) console.log(`!!!   ${title}: ${count} ${count === 1 ? 'test' : 'tests'}, in ${file}`)
  }
  if (inapplicable > 0) console.log(`\n${inapplicable} checks of the contract do not apply to the backends they are named for`)
  console.log(`\nTests: ${passed} passed, ${failed} failed, ${skipped} skipped`)
}

/** Skipped tests, gathered by their outermost describe (or their own title), so that a left-out suite is one line. */
function skippedGroups(results) {
  const groups = new Map()
  for (const suite of results.testResults) {
    const file = path.relative(ROOT, suite.name)
    for (const test of suite.assertionResults) {
      if (test.status === 'passed' || test.status === 'failed' || DOES_NOT_APPLY.test(test.title)) continue
      const wholeSuite = test.ancestorTitles[0]
      const sameSuiteRan = suite.assertionResults.some((other) => other.ancestorTitles[0] === wholeSuite && (other.status === 'passed' || other.status === 'failed'))
      const title = wholeSuite === undefined || sameSuiteRan ? test.fullName : wholeSuite
      const group = groups.get(`${file}\0${title}`) ?? { title, file, count: 0 }
      group.count += 1
      groups.set(`${file}\0${title}`, group)
    }
  }
  return [...groups.values()]
}
