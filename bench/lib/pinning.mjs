/*
 * Which core a process runs on. For Redis that matters more than the library: one caller and its server only ever wait for each other, and
 * unpinned the kernel moves them about, tenfold differences included; many callers and their server work at the same time.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'

const cores = allowedCores()
const isThere = hasTaskset()

/** Where client and server run: `one core` or `two cores`. @returns the cores, or `undefined` where processes cannot be pinned */
export function coresFor(placement) {
  if (placement === undefined || !isThere || cores.length === 0) return undefined
  return { client: cores[0], server: placement === 'one core' ? cores[0] : (cores[1] ?? cores[0]) }
}

/** The command and arguments that run a program on that core only. */
export function onCore(core, command, args) {
  return core === undefined ? [command, args] : ['taskset', ['-c', String(core), command, ...args]]
}

/** For the page: how this machine could pin. */
export function pinningOf() {
  if (!isThere || cores.length === 0) return 'not pinned: there is no taskset here, so figures with Redis swing widely'
  if (cores.length === 1) return 'pinned, but to the only core there is, so many callers and their server do not work at the same time'
  return `pinned with taskset: one caller and its server to one core, many callers to one and their server to another`
}

export function warnIfNotPinned() {
  if (isThere && cores.length > 1) return
  console.warn(`\n*** NOT AS IT SHOULD BE: client and server are ${pinningOf()}. ***\n`)
}

function allowedCores() {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]
    return list.split(',').flatMap((part) => {
      const [first, last = first] = part.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, n) => first + n)
    })
  } catch {
    return Array.from({ length: os.platform() === 'linux' ? os.cpus().length : 0 }, (_, n) => n)
  }
}

function hasTaskset() {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
