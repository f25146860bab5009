import fs from 'node:fs'
import { CacheError } from '@thermocline/backend'
import { codeOf, isMissing } from './errors.js'
import type { Store } from './store.js'

/**
 * Gives a directory that was there already the mode that the option `access` asks for, if it is this process's user's; else says
 * so, once. Never rejects.
 */
export async function adjustMode(store: Store, directory: string): Promise<void> {
  const { modes, hosts } = store
  const uid = process.getuid?.()
  if (uid === undefined) return // no modes on this platform
  try {
    const stats = await fs.promises.lstat(directory)
    if (!stats.isDirectory() || modes.fits(stats.mode)) return
    if (stats.uid === uid) await fs.promises.chmod(directory, modes.directory)
    else hosts.reportOnce(directory, notOurs(store, directory, stats.mode, `it belongs to user ${stats.uid}`))
  } catch (error) {
    if (!isMissing(error)) hosts.reportOnce(directory, notOurs(store, directory, undefined, String(codeOf(error)), error))
  }
}

function notOurs({ modes }: Store, directory: string, mode: number | undefined, why: string, cause?: unknown): CacheError {
  const has = mode === undefined ? '' : ` (it has ${(mode & 0o7777).toString(8)})`
  const hint = modes.access === 'private' ? "remove it, change its owner or mode, or say access: 'group' in all processes that share it" : `let its owner change it to ${modes.directory.toString(8)}`
  return new CacheError('access-denied', `a directory of the cache cannot be given the mode that access: '${modes.access}' asks for${has}: ${why}; ${hint}: ${directory}`, {
    operation: 'put',
    backend: 'fs',
    concerns: 'key',
    cause,
  })
}
