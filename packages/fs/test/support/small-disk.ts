import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { test } from '@jest/globals'
import { afterwards, temporaryDirectory } from '../../../../test/support/afterwards.js'

const isRoot = process.getuid?.() === 0
/** Whether this process may mount: tests of full, read-only and locked disks need that. */
export const canMount = isRoot && mounts()
if (!canMount) console.warn('SKIPPED: the tests of full, read-only and locked disks need root and the right to mount')
export const withDisk = canMount ? test : test.skip

function mounts(): boolean {
  const directory = fs.mkdtempSync('/tmp/thermocline-')
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory])
    return true
  } catch {
    return false
  } finally {
    fs.rmdirSync(directory)
  }
}

/** A small disk of its own, gone after the test. */
export function smallDisk(megabytes: number): string {
  const directory = temporaryDirectory()
  mountSmallDisk(directory, megabytes)
  afterwards(() => execFileSync('umount', ['-l', directory]))
  return directory
}

/** Mounts a small disk in a directory; whoever calls sees to its end. */
export function mountSmallDisk(directory: string, megabytes: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'tmpfs', directory])
}

/** What `du -sb` says of a directory; the log of what processes agree about is not counted. */
export function occupied(directory: string): number {
  try {
    return parseInt(execFileSync('du', ['-sb', '--exclude=agreed', directory], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), 10)
  } catch (error) {
    return parseInt((error as { stdout: string }).stdout, 10) // a file went while it looked
  }
}
