import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach } from '@jest/globals'

let steps: (() => unknown)[] = []

afterEach(async () => {
  const failures: unknown[] = []
  for (const step of steps.splice(0).reverse()) {
    try {
      await step()
    } catch (error) {
      failures.push(error)
    }
  }
  steps = []
  if (failures.length > 0) throw failures[0]
})

/** Runs a step after the test, also a failed one; the last step first, as what was opened last is closed first. */
export function afterwards(step: () => unknown): void {
  steps.push(step)
}

/** A directory that goes with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-'))
  afterwards(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }))
  return directory
}
