import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach } from '@jest/globals'
import { CleanUp } from './clean-up.js'

const cleanUp = new CleanUp()

afterEach(() => cleanUp.run())

/** Runs a step after the test, also a failed one; the last step first. */
export function afterwards(step: () => unknown): void {
  cleanUp.add(step)
}

/** A directory that goes with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-'))
  afterwards(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }))
  return directory
}
