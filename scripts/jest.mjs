// Runs jest with a given Node binary and reports what it counted, skipped tests by name.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { cacheDirectory, ROOT, runVisibly } from './run.mjs'

/**
 * Runs jest and prints the totals. Results stay in `.cache/results/<name>.json` for whoever adds them up.
 *
 * @returns jest's exit code
 */
export function jest(name, args, { node = process.execPath } = {}) {
  const file = path.join(cacheDirectory('results'), `${name}.json`)
  rmSync(file, { force: true }) // a run that dies must not leave the last run's counts
  const code = runVisibly(node, [
    '--experimental-vm-modules',
    ...(process.allowedNodeEnvironmentFlags.has('--disable-warning') ? ['--disable-warning=ExperimentalWarning'] : []), // since Node 20.11
    path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'),
    '--json',
    `--outputFile=${file}`,
    ...args,
  ])
  if (existsSync(file)) report(JSON.parse(readFileSync(file, 'utf8')))
  else console.error('jest ended without results')
  return code
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
