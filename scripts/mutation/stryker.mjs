// Stryker as we need it: two mutators more, and only the mutants that are asked for. Both reach into its instrumenter, which has no
// public way for either; its version is pinned.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Stryker } from '@stryker-mutator/core'
import { ROOT } from '../run.mjs'

const require = createRequire(import.meta.url)
const instrumenterRequire = createRequire(createRequire(require.resolve('@stryker-mutator/core/package.json')).resolve('@stryker-mutator/instrumenter'))
/** Found from jest: Stryker looks for it beside the project, where a strict package manager does not put it. */
const TEST_ENVIRONMENT = ['jest', '@jest/core', 'jest-config', 'jest-environment-node'].reduce((from, name) => createRequire(from).resolve(name), import.meta.url)
const INSTRUMENTER = path.dirname(path.dirname(instrumenterRequire.resolve('@stryker-mutator/instrumenter')))
const internal = (file) => import(pathToFileURL(path.join(INSTRUMENTER, 'src', file)).href)
const { allMutators } = await internal('mutators/index.js')
const { MutantCollector } = await internal('transformers/index.js')
const { Instrumenter } = await internal('instrumenter.js')
const { types } = instrumenterRequire('@babel/core')

/** Texts are for people; what decides something is also mutated where it is compared. */
const EXCLUDED = ['StringLiteral', 'Regex']

/** Removes one call or assignment. The only statement of a block is left to Stryker, which empties the block. */
const statementRemoval = {
  name: 'StatementRemoval',
  *mutate(nodePath) {
    if (!nodePath.isExpressionStatement() || nodePath.node.directive !== undefined) return
    if (types.isCallExpression(nodePath.node.expression) && types.isSuper(nodePath.node.expression.callee)) return
    if (nodePath.parentPath.isBlockStatement() && nodePath.parent.body.length === 1) return
    yield types.emptyStatement()
  },
}

/** Another number: one for nothing, else twice as much. */
const numericLiteral = {
  name: 'NumericLiteral',
  *mutate(nodePath) {
    if (nodePath.isNumericLiteral() && !nodePath.parentPath.isTSLiteralType()) yield types.numericLiteral(nodePath.node.value === 0 ? 1 : nodePath.node.value * 2)
  },
}
allMutators.push(statementRemoval, numericLiteral)

/** Which mutants are set; `undefined`: all. */
let wanted
const collect = MutantCollector.prototype.collect
MutantCollector.prototype.collect = function (fileName, original, mutable, offset) {
  const mutant = collect.call(this, fileName, original, mutable, offset)
  if (wanted !== undefined && !wanted.has(idOf(mutant.toApiMutant()))) mutant.ignoreReason ??= 'not in the sample'
  return mutant
}

/** What tells a mutant from all others of one state of the sources. */
export function idOf({ fileName, location: { start, end }, mutatorName, replacement }) {
  return [path.relative(ROOT, path.resolve(ROOT, fileName)), start.line, start.column, end.line, end.column, mutatorName, replacement].join('|')
}

/** Every mutant of the files, as `{ id, file }`; nothing is run. */
export async function mutantsOf(files) {
  const quiet = { debug() {}, info() {}, warn() {}, isDebugEnabled: () => false, isTraceEnabled: () => false }
  const sources = files.map((name) => ({ name: path.join(ROOT, name), mutate: true, content: readFileSync(path.join(ROOT, name), 'utf8') }))
  const { mutants } = await new Instrumenter(quiet).instrument(sources, { plugins: null, excludedMutations: EXCLUDED, ignorers: [], noHeader: false })
  return mutants.filter(({ status }) => status !== 'Ignored').map((mutant) => ({ id: idOf(mutant), file: path.relative(ROOT, mutant.fileName) }))
}

/** Sets the mutants of the files, those in `ids` or all, one after the other, and runs the guards that reach each. */
export async function runMutants(files, guards, { ids, concurrency }) {
  wanted = ids
  try {
    const results = await new Stryker({
      mutate: files,
      mutator: { plugins: null, excludedMutations: EXCLUDED },
      testRunner: 'jest',
      plugins: ['@stryker-mutator/jest-runner'],
      testRunnerNodeArgs: ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning'],
      maxTestRunnerReuse: 100, // modules of jest's contexts are not let go
      jest: {
        configFile: 'jest.config.mjs',
        enableFindRelatedTests: false,
        config: { testEnvironment: TEST_ENVIRONMENT, testMatch: guards.map((guard) => `**/${guard}`), testTimeout: 45_000 },
      },
      coverageAnalysis: 'perTest',
      concurrency,
      timeoutMS: 30_000, // what hangs is noticed so; what is slow on a busy machine is not
      timeoutFactor: 2,
      ignorePatterns: ['.cache', 'dist', 'docs', 'bench', 'examples', '.turbo'],
      tempDirName: '.cache/stryker',
      reporters: ['progress-append-only'],
      allowConsoleColors: false,
      logLevel: 'warn',
    }).runMutationTest()
    return results.filter(({ status }) => status !== 'Ignored')
  } finally {
    wanted = undefined
  }
}
