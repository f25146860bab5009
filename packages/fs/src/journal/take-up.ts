import fs from 'node:fs'
import path from 'node:path'
import type { EpochMs } from '@thermocline/core'
import { isMissing, isNotAFile } from '../errors.js'
import { copyName, isUnfinished, parseCopyName, type CopyName } from './copy-name.js'
import type { OwnDirectory } from './own-directory.js'
import { orphanedFrom } from './owner.js'
import type { Superseded } from './superseded.js'

/** A copy that is this process's now. */
export interface TakenUp extends CopyName {
  readonly file: string
}

interface Left extends CopyName {
  readonly file: string
}

/** A directory of a process of which is not known yet whether it is gone. */
export interface Undecided {
  readonly name: string
  readonly modifiedAt: EpochMs
  readonly orphanedFrom: EpochMs
}

export interface TakingUp {
  readonly taken: readonly TakenUp[]
  readonly undecided: readonly Undecided[]
  /** What ended it before everything was taken. */
  readonly failure: unknown
}

/**
 * Moves what dead processes left in the journal into the own directory, oldest first. A rename wins or loses: of several processes
 * that start at the same moment one gets each copy. What is superseded is removed.
 *
 * @param isTaken whether a sequence is in use here: of two processes' copies with one sequence the second gets the next
 */
export function takeUp(root: string, own: OwnDirectory, superseded: Superseded, now: EpochMs, isTaken: (sequence: number) => boolean): TakingUp {
  const owners = ownersIn(root)
  const orphans = owners.filter((owner) => owner.orphanedFrom < now).map(({ name }) => path.join(root, name))
  const undecided = owners.filter((owner) => owner.orphanedFrom >= now && Number.isFinite(owner.orphanedFrom))
  const taken: TakenUp[] = []
  try {
    // read before the copies are looked for: whoever removes notes has taken the copies before
    const isSuperseded = superseded.readAll(owners.map(({ name }) => path.join(root, name)))
    takeFrom(orphans, own, isSuperseded, isTaken, taken)
    for (const orphan of orphans) {
      superseded.inherit(orphan, undecided.length > 0)
      removeIfEmpty(orphan)
    }
    return { taken, undecided, failure: undefined }
  } catch (failure) {
    return { taken, undecided, failure }
  }
}

function takeFrom(orphans: readonly string[], own: OwnDirectory, isSuperseded: (file: string, sequence: number) => boolean, isTaken: (sequence: number) => boolean, taken: TakenUp[]): void {
  const left = orphans.flatMap(copiesIn).sort((a, b) => a.sequence - b.sequence)
  if (left.length > 0) own.makeNow()
  let last = -1
  for (const copy of left) {
    let sequence = Math.max(copy.sequence, last + 1)
    while (isTaken(sequence)) sequence++
    const file = path.join(own.path, copyName({ ...copy, sequence }))
    try {
      if (isSuperseded(copy.file, copy.sequence)) {
        fs.unlinkSync(copy.file)
        continue
      }
      fs.renameSync(copy.file, file)
    } catch (error) {
      if (isMissing(error)) continue // another process was faster
      throw error
    }
    last = sequence
    taken.push({ ...copy, sequence, file })
  }
}

function ownersIn(root: string): Undecided[] {
  return namesIn(root).flatMap((name) => {
    const stats = fs.statSync(path.join(root, name), { throwIfNoEntry: false })
    return stats?.isDirectory() === true ? { name, modifiedAt: stats.mtimeMs, orphanedFrom: orphanedFrom(name, stats.mtimeMs) } : []
  })
}

function copiesIn(directory: string): Left[] {
  const copies: Left[] = []
  for (const name of namesIn(directory)) {
    const file = path.join(directory, name)
    const copy = parseCopyName(name)
    if (copy !== undefined) copies.push({ ...copy, file })
    else if (isUnfinished(name)) fs.rmSync(file, { force: true })
  }
  return copies
}

function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory)
  } catch (error) {
    if (isMissing(error) || isNotAFile(error)) return []
    throw error
  }
}

function removeIfEmpty(directory: string): void {
  try {
    fs.rmdirSync(directory)
  } catch {
    // somebody put something into it, or has removed it
  }
}
