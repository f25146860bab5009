import path from 'node:path'
import type { JournalOptions } from '@thermocline/backend'

export interface CheckedJournalOptions {
  readonly directory: string
  readonly maxBytes: number
  readonly maxEntries: number
  readonly patienceMs: number | undefined
}

/** @throws TypeError that names the option, the value and the rule */
export function checkJournalOptions({ directory, maxBytes, maxEntries, patienceMs }: JournalOptions, defaultDirectory: string): CheckedJournalOptions {
  if (directory !== undefined && (typeof directory !== 'string' || directory === '' || directory.includes('\0'))) {
    throw new TypeError(`directory must be the path of a directory, not ${typeof directory === 'string' ? JSON.stringify(directory) : typeof directory}`)
  }
  for (const [name, value] of Object.entries({ maxBytes, maxEntries })) {
    if (!(typeof value === 'number' && value > 0)) throw new TypeError(`${name} must be a number above 0, not ${typeof value === 'number' ? value : typeof value}`)
  }
  return { directory: directory === undefined ? defaultDirectory : path.resolve(directory), maxBytes, maxEntries, patienceMs }
}
