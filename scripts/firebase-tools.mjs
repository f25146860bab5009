// Puts firebase-tools, which has an emulator of Cloud Storage, into a folder of its own: for the tests only, and once.
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { FIREBASE_TOOLS_VERSION, findFirebaseTools, firebaseToolsFolder } from '../test/support/servers/binaries.mjs'
import { runQuietly } from './run.mjs'

const PARTIAL = '.partial-'

/**
 * Installs it beside its folder and renames that when all is there, so a folder of the right name is complete, whatever was
 * interrupted; one that has been damaged since is replaced. npm takes its cache from npm_config_cache, as always.
 *
 * @returns what npm said if it failed
 */
export async function installFirebaseTools({ folder = firebaseToolsFolder(), npm = 'npm' } = {}) {
  removeLeftovers(folder)
  const partial = mkdtempSync(`${prepareParent(folder)}${PARTIAL}${process.pid}-`)
  try {
    writeFileSync(path.join(partial, 'package.json'), '{ "private": true }\n')
    const done = await runQuietly(npm, ['install', `firebase-tools@${FIREBASE_TOOLS_VERSION}`, '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: partial })
    if (done.code !== 0) return { failure: `${done.output.trimEnd()}\n\nnpm install firebase-tools exited with ${done.code}` }
    const { missing } = findFirebaseTools(partial)
    if (missing !== undefined) return { failure: `npm install firebase-tools ended well, but ${missing}` }
    if (findFirebaseTools(folder).missing === undefined) return {} // somebody else was quicker
    rmSync(folder, { recursive: true, force: true })
    renameSync(partial, folder)
    return {}
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

/** What installations have left that were killed; those of processes that still run are theirs. */
function removeLeftovers(folder) {
  const parent = path.dirname(prepareParent(folder))
  for (const name of readdirSync(parent)) {
    const [, pid] = name.split(`${path.basename(folder)}${PARTIAL}`)
    if (pid !== undefined && !isRunning(Number.parseInt(pid, 10))) rmSync(path.join(parent, name), { recursive: true, force: true })
  }
}

function prepareParent(folder) {
  mkdirSync(path.dirname(folder), { recursive: true })
  return folder
}

function isRunning(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}
