import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import type { EpochMs } from '@thermocline/core'
import { codeOf } from '../errors.js'

/*
 * Whose a directory of the journal is, and whether that process still lives.
 *
 *   <host>.<place>.<pid>.<start>.<random>    of a process
 *   released.<random>                        of nobody any more: its process has closed it
 *
 * `place` is a hash of what makes a process id mean something: the host, its boot, the namespace of process ids. There the process
 * lives if its id is in use by one that started at the same time. About a process of another place, such as another
 * container that shares the disk, only the directory's modification time tells, which its process renews.
 */

/** How often a process renews the modification time of its directory, in milliseconds. */
export const HEARTBEAT_MS = 5000
/** A process of another place whose directory is older than this, in milliseconds, is taken for dead. */
export const SILENT_MS = 30_000

const NAME = /^[a-z0-9-]{1,40}\.([0-9a-f]{16})\.(\d+)\.(\d+)\.[0-9a-f]{12}$/
const RELEASED = /^released\.[0-9a-f]{12}$/
/** The 22nd field of /proc/<pid>/stat (proc(5)), counted from the third, which follows the name in parentheses. */
const START_FIELD = 19

/** A name for a directory of this process; each is new. */
export function newOwnerName(): string {
  const host = os.hostname().toLowerCase().replace(/[^a-z0-9-]+/g, '-').slice(0, 40) || 'host'
  return `${host}.${placeOfThisProcess()}.${process.pid}.${startOf(process.pid) ?? 0}.${random()}`
}

export function newReleasedName(): string {
  return `released.${random()}`
}

/**
 * From when on a directory is taken for one that a process left which is gone, so that its contents are to be taken up: `-Infinity`: it is
 * one; `Infinity`: its process lives, or it is no directory of a journal.
 *
 * @param modifiedAt its modification time
 */
export function orphanedFrom(name: string, modifiedAt: EpochMs): EpochMs {
  if (RELEASED.test(name)) return Number.NEGATIVE_INFINITY
  const [, place, pid, start] = NAME.exec(name) ?? []
  if (place === undefined) return Number.POSITIVE_INFINITY
  if (place !== placeOfThisProcess()) return modifiedAt + SILENT_MS
  return isRunning(Number(pid), Number(start)) ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
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

/** When a process started, in clock ticks since boot; `undefined`: there is none, or no /proc to ask. */
function startOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`)
  const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_FIELD]
  return field === undefined ? undefined : Number(field)
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

function random(): string {
  return randomBytes(6).toString('hex')
}
