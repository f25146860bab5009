// Prints `<passed> <failed>` of one results file, jest's or our own. A stage that exits with an error without having
// counted a failure (it crashed, or found no tests) has one.
import { existsSync, readFileSync } from 'node:fs'

const [file, exitCode] = process.argv.slice(2)
const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 1 }
const passed = results.passed ?? results.numPassedTests
const failed = results.failed ?? results.numFailedTests + results.numRuntimeErrorTestSuites
console.log(passed, exitCode !== '0' && failed === 0 ? 1 : failed)
