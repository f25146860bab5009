import { afterAll } from '@jest/globals'

const steps: (() => unknown)[] = []

// Registered when a test file imports this module, so it belongs to the whole file and runs after its last test.
afterAll(async () => {
  const failures: unknown[] = []
  for (const step of steps.splice(0).reverse()) {
    try {
      await step()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}, 30_000)

/** Runs a step after the last test of the file, also when tests failed; the last step first. */
export function atEndOfFile(step: () => unknown): void {
  steps.push(step)
}
