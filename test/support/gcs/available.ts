import { describe } from '@jest/globals'
import { findFirebaseTools } from '../servers/binaries.mjs'

const firebaseTools = findFirebaseTools()

/** Whether there is an emulator that `startGcsEmulator` can start. */
export function gcsEmulatorAvailable(): boolean {
  return firebaseTools.missing === undefined
}

/** `describe` for suites on the emulator. Where there is none the suite is skipped, counted, and says why in its name. The strict server is always there. */
export function describeGcsEmulator(name: string, body: () => void): void {
  if (gcsEmulatorAvailable()) describe(name, body)
  else describe.skip(`${name} [skipped: ${firebaseTools.missing}]`, body)
}

/** @internal */
export function firebaseToolsDirectory(): string {
  if (firebaseTools.missing !== undefined) throw new Error(`cannot start the Cloud Storage emulator: ${firebaseTools.missing}`)
  return firebaseTools.file
}
