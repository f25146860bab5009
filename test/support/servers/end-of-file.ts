import { afterAll } from '@jest/globals'
import { CleanUp } from '../clean-up.js'

const cleanUp = new CleanUp()

// Registered when a test file imports this module, so it belongs to the whole file and runs after its last test.
afterAll(() => cleanUp.run(), 30_000)

/** Runs a step after the last test of the file, also when tests failed; the last step first. */
export function atEndOfFile(step: () => unknown): void {
  cleanUp.add(step)
}
