import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import { codeOf } from '../errors.js'

/*
 * Whose a directory of the journal is, and whether that process still lives.
 *
 *   <host>.<place>.<pid>.<start>.<id>    of a process
 *   released.<id>                        of nobody any more: its process has closed it
 *
 * `id` stays with the directory for its life; who takes the directory up gives it a name with itself in front. `place` is a hash of what
 * makes a process id mean something: the host, its boot, the namespace of process ids. There the process lives if its id is in use by one
 * that started at the same time. About a process of another place, such as another container that shares the disk, nothing can be asked:
 * it renews the directory's modification time, and whoever wants to know watches whether that changes. No clock is compared with another's.
 */

/** How often a process renews the modification time of its directories, in milliseconds. */
export const HEARTBEAT_MS = 5000
/** A process of another place whose directory has not changed while it was watched for so long, in milliseconds, is taken for dead. */
export const SILENT_MS = 30_000

const NAME = /^[a-z0-9-]{1,40}\.([0-9a-f]{16})\.(\d+)\.(\d+)\.([0-9a-f]{12})$/
const RELEASED = /^released\.([0-9a-f]{12})$/
/** The 3rd and the 22nd field of /proc/<pid>/stat (proc(5)), counted from the third, which follows the name in parentheses. */
const STATE_FIELD = 0
const START_FIELD = 19

/** What a directory's name tells. `silent`: only watching it can tell whether its process lives. */
export interface Owner {
  readonly id: string
  readonly state: 'gone' | 'lives' | 'silent'
}

export function newId(): string {
  return randomBytes(6).toString('hex')
}

/** The name of a directory of this process. */
export function ownerName(id: string): string {
  const host = os.hostname().toLowerCase().replace(/[^a-z0-9-]+/g, '-').slice(0, 40) || 'host'
  return `${host}.${placeOfThisProcess()}.${process.pid}.${startOf(process.pid) ?? 0}.${id}`
}

export function releasedName(id: string): string {
  return `released.${id}`
}

/** `undefined`: it is no directory of a journal. */
export function ownerOf(name: string): Owner | undefined {
  const [, released] = RELEASED.exec(name) ?? []
  if (released !== undefined) return { id: released, state: 'gone' }
  const [, place, pid, start, id] = NAME.exec(name) ?? []
  if (id === undefined) return undefined
  if (place !== placeOfThisProcess()) return { id, state: 'silent' }
  return { id, state: isRunning(Number(pid), Number(start)) ? 'lives' : 'gone' }
}

let place: string | undefined

function placeOfThisProcess(): string {
  place ??= createHash('sha256')
    .update([os.hostname(), read('/proc/sys/kernel/random/boot_id'), link('/proc/self/ns/pid')].join('\0'))
    .digest('hex')
    .slice(0, 16)
  return place
}

function isRunning(pid: number, startedAt: number): boolean {
  const start = startOf(pid)
  if (start !== undefined) return start === startedAt
  if (startedAt !== 0) return false // there is a /proc, and it does not know the process
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** When a process started, in clock ticks since boot; `undefined`: there is none that does anything any more, or no /proc to ask. */
function startOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const start = fields[START_FIELD]
  const state = fields[STATE_FIELD]
  return start === undefined || state === 'Z' || state === 'X' ? undefined : Number(start)
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function link(file: string): string {
  try {
    return fs.readlinkSync(file)
  } catch {
    return ''
  }
}
