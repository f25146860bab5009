import fs from 'node:fs'
import path from 'node:path'
import type { EpochMs, JournalSlot, PendingWrite, ValidKey } from '@thermocline/core'
import { isMissing, NO_HARD_LINKS } from '../errors.js'
import type { Modes } from '../access.js'
import type { Descriptors } from '../descriptors.js'
import { withFiles } from '../disk.js'
import { rename, syncFile } from '../file-io.js'
import { link, linkNow, type LinkOutcome } from '../links.js'
import { copyName, unfinishedName } from './copy-name.js'
import type { OwnDirectory } from './own-directory.js'

/** Another disk, or too many links of one file: a copy does it. */
const COPIED_INSTEAD: ReadonlySet<string> = new Set([...NO_HARD_LINKS, 'EXDEV', 'EMLINK'])

/** Makes a second name of a file while that is written. */
export interface CopyMaker {
  /** The temporary file is there; its bytes may not be. */
  begin(temporary: string): void
  /** The temporary file is whole, with so many bytes of payload. Rejects with the file system's error when there is no copy of it. */
  complete(temporary: string, payloadBytes: number): Promise<void>
  /** Makes the copy survive power loss, where that is asked for. */
  settle(): Promise<void>
}

/** What copies know of the store that they are in. */
export interface CopyHost {
  readonly fsync: boolean
  readonly modes: Modes
  readonly descriptors: Descriptors
  /** A copy has so many bytes more, or fewer, than were reserved for it. */
  resized(copy: PendingCopy, by: number): void
}

/**
 * One pending upload, as the manager knows it, and its copy. Normally a hard link to the entry's file, made while that is being written: link and write go to the thread
 * pool together. What a crash leaves of such a file is shorter than its header claims, and was never acknowledged.
 */
export class PendingCopy implements CopyMaker, JournalSlot {
  readonly tier: string
  readonly tenant: string
  readonly key: ValidKey
  readonly expiresAt: EpochMs
  readonly sequence: number
  readonly #own: OwnDirectory
  readonly #host: CopyHost
  #linking: Promise<LinkOutcome> | LinkOutcome | undefined
  /** Settles when nothing makes the copy any more. */
  #making: Promise<unknown> | undefined
  #bytes: number
  #file: string | undefined
  #isThere: boolean
  #isGivenUp = false

  constructor(write: PendingWrite, sequence: number, own: OwnDirectory, host: CopyHost, isThere: boolean) {
    this.tier = write.tier
    this.tenant = write.tenant
    this.key = write.key
    this.expiresAt = write.expiresAt
    this.#bytes = write.bytes
    this.sequence = sequence
    this.#own = own
    this.#host = host
    this.#isThere = isThere
  }

  /** Where it is, or will be. */
  get file(): string {
    this.#file ??= `${this.#own.path}${path.sep}${copyName(this)}`
    return this.#file
  }

  /** What was reserved; once it is made, what it has. */
  get bytes(): number {
    return this.#bytes
  }

  get isThere(): boolean {
    return this.#isThere
  }

  /** Runs what makes the copy; when it rejects or says false, no copy stays. */
  make(work: (maker: CopyMaker) => Promise<boolean>): Promise<boolean> {
    const made = this.#make(work, this.#making)
    this.#making = made.catch(() => undefined)
    return made
  }

  /** It has so many bytes of payload: a stream's length shows only at its end. */
  measured(bytes: number): void {
    if (bytes === this.#bytes) return
    const before = this.#bytes
    this.#bytes = bytes
    this.#host.resized(this, bytes - before)
  }

  begin(temporary: string): void {
    // at once 0 to 5 us, by the thread pool 40 us beside the write; on a disk, though, a link may wait for what others do there
    this.#linking = this.#host.descriptors.inMemory ? linkNow(temporary, this.file) : link(temporary, this.file)
  }

  async complete(temporary: string, payloadBytes: number): Promise<void> {
    this.measured(payloadBytes)
    const failure = await this.#linking
    if (failure === null) return
    const code = failure?.code ?? ''
    if (code === 'ENOENT') await this.#own.make()
    else if (code === 'EEXIST') await this.#unlink() // the copy of an earlier attempt
    else if (!COPIED_INSTEAD.has(code)) throw failure as Error
    if (COPIED_INSTEAD.has(code) || !(await this.#linkAgain(temporary))) await this.#copy(temporary)
  }

  async #copy(temporary: string): Promise<void> {
    const unfinished = unfinishedName(this.file)
    try {
      await this.write(() => withFiles({}, () => fs.promises.copyFile(temporary, unfinished, fs.constants.COPYFILE_FICLONE)))
      await this.#host.modes.settleFile(unfinished)
      if (this.#host.fsync) await syncPath(unfinished)
      await rename(unfinished, this.file)
    } catch (error) {
      await fs.promises.unlink(unfinished).catch(() => undefined)
      throw error
    }
  }

  settle(): Promise<void> {
    return this.#own.settle()
  }

  /** Makes it another name of a copy that is there. */
  async linkTo(other: PendingCopy): Promise<void> {
    this.begin(other.file)
    await this.complete(other.file, other.bytes)
    await this.settle()
  }

  /** For writing it by itself, under another name first; the directory is made when it is missing. */
  async write(step: (unfinished: string) => Promise<void>): Promise<void> {
    const unfinished = unfinishedName(this.file)
    try {
      return await step(unfinished)
    } catch (error) {
      if (!isMissing(error)) throw error
      await this.#own.make()
      return step(unfinished)
    }
  }

  /** Waits for whoever makes it, and removes it; what would make it later does not. Rejects with the file system's error. */
  async remove(): Promise<void> {
    this.#isGivenUp = true
    await this.#making
    this.#isThere = false
    await this.#unlink()
    await this.settle().catch((error: unknown) => {
      if (!isMissing(error)) throw error // there never was a directory
    })
  }

  /** Resolves when nothing makes it any more. */
  async idle(): Promise<void> {
    await this.#making
  }

  async #make(work: (maker: CopyMaker) => Promise<boolean>, before: Promise<unknown> | undefined): Promise<boolean> {
    if (before !== undefined) await before
    this.#linking = undefined
    let stored = false
    try {
      stored = await work(this)
      return stored
    } finally {
      this.#isThere = stored && !this.#isGivenUp
      if (!this.#isThere) await this.#discard()
    }
  }

  /** False where a link cannot be had. */
  async #linkAgain(temporary: string): Promise<boolean> {
    const failure = await link(temporary, this.file)
    if (failure === null) return true
    if (COPIED_INSTEAD.has(failure.code ?? '')) return false
    throw failure
  }

  async #discard(): Promise<void> {
    await this.#linking
    await this.#unlink().catch(() => undefined)
  }

  async #unlink(): Promise<void> {
    try {
      await fs.promises.unlink(this.file)
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }
}

async function syncPath(file: string): Promise<void> {
  const opened = await withFiles({}, () => fs.promises.open(file, 'r'))
  try {
    await syncFile(opened.fd)
  } finally {
    await opened.close()
  }
}

/** The slot itself; `undefined` for one that no journal of this package gave out, or an object like it. */
export function pendingCopyOf(slot: JournalSlot): PendingCopy | undefined {
  return slot instanceof PendingCopy ? slot : undefined
}
