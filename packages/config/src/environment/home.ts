import os from 'node:os'
import path from 'node:path'
import type { Environment } from './substitute.js'

/** The home directory of a shell that has this environment. */
function homeDirectory(env: Environment): string {
  const { HOME } = env
  return HOME === undefined || HOME === '' ? os.homedir() : HOME
}

/** A path in which a leading `~` is the home directory, as in a shell. `./~` stands for a directory of that name. */
export function expandHome(written: string, env: Environment): string {
  return /^~(?:[/\\]|$)/.test(written) ? path.join(homeDirectory(env), written.slice(1)) : written
}

/** Whether a path begins with the home directory of somebody else, which Node cannot tell. */
export function namesOtherHome(written: string): boolean {
  return /^~[^/\\]/.test(written)
}
