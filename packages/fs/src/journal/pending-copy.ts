import fs from 'node:fs'
import path from 'node:path'
import { CacheError, type EpochMs, type JournalSlot, type PendingWrite, type ValidKey } from '@thermocline/backend'
import { asFsError, codeOf, isMissing, NO_HARD_LINKS } from '../errors.js'
import type { Modes } from '../access.js'
import type { Descriptors } from '../descriptors.js'
import { withFiles } from '../disk.js'
import { rename, syncFile } from '../file-io.js'
import { link, linkNow, type LinkOutcome } from '../links.js'
import { copyName, unfinishedName } from './copy-name.js'
import type { OwnDirectories, OwnDirectory } from './own-directories.js'

/** Another disk, or too many links of one file: a copy does it. */
const COPIED_INSTEAD: ReadonlySet<string> = new Set([...NO_HARD_LINKS, 'EXDEV', 'EMLINK'])

/** Makes a second name of a file while that is written. It never rejects: what goes wrong in the journal is not the entry's. */
export interface CopyMaker {
  /** The temporary file is there; its bytes may not be. */
  begin(temporary: string): void
  /** The temporary file is whole, with so many bytes of payload. */
  complete(temporary: string, payloadBytes: number): Promise<void>
  /** Makes the copy survive power loss, where that is asked for. */
  settle(): Promise<void>
}

/** What copies know of the store that they are in. */
export interface CopyHost {
  readonly fsync: boolean
  readonly modes: Modes
  readonly descriptors: Descriptors
  readonly own: OwnDirectories
  /** Resolves when the work has, and with false when that takes longer than a put waits for its copy. */
  inTime(work: Promise<unknown>): Promise<boolean>
  /** Another process has a copy now. */
  lost(copy: PendingCopy): void
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
  /** Whether another process made it. */
  readonly wasFound: boolean
  readonly #host: CopyHost
  #directory: OwnDirectory
  #name: string | undefined
  #linking: Promise<LinkOutcome> | LinkOutcome | undefined
  /** Settles when nothing makes the copy any more. */
  #making: Promise<unknown> | undefined
  #bytes: number
  #file: string | undefined
  #isThere: boolean
  /** Whether the disk may have something under its name. */
  #mayBeOnDisk: boolean
  #isGivenUp = false
  #failure: CacheError | undefined
  /** What still goes on in the journal after a put was answered. */
  #late: Promise<void> | undefined

  /** @param found where it lies, when it is there already */
  constructor(write: PendingWrite, sequence: number, host: CopyHost, found?: { readonly directory: OwnDirectory; readonly name: string }) {
    this.tier = write.tier
    this.tenant = write.tenant
    this.key = write.key
    this.expiresAt = write.expiresAt
    this.#bytes = write.bytes
    this.sequence = sequence
    this.#host = host
    this.#directory = found?.directory ?? host.own.current
    this.#name = found?.name
    this.wasFound = found !== undefined
    this.#isThere = found !== undefined
    this.#mayBeOnDisk = found !== undefined
  }

  /** Where it is, or will be. */
  get file(): string {
    this.#file ??= `${this.#directory.path}${path.sep}${this.name}`
    return this.#file
  }

  get name(): string {
    this.#name ??= copyName(this)
    return this.#name
  }

  get directory(): OwnDirectory {
    return this.#directory
  }

  /** What was reserved; once it is made, what it has. */
  get bytes(): number {
    return this.#bytes
  }

  get isThere(): boolean {
    return this.#isThere
  }

  get failure(): CacheError | undefined {
    return this.#failure
  }

  /** It was found damaged. */
  damaged(error: CacheError): void {
    this.#failure = error
  }

  async isOwn(): Promise<boolean> {
    try {
      const isOwn = await this.#host.own.isOwn(this.#directory)
      if (!isOwn) this.#host.lost(this)
      return isOwn
    } catch (error) {
      throw asFsError(error, 'write-back', this.key)
    }
  }

  /** Runs what makes the copy; when it rejects or says false, no copy stays. */
  make(work: (maker: CopyMaker) => Promise<boolean>): Promise<boolean> {
    const made = this.#make(work, this.#making)
    const settled = made.catch(() => undefined)
    // what a put did not wait for any more is waited for by whoever removes the copy
    this.#making = settled.then(() => this.#late)
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
    this.#begin()
    // at once 0 to 5 us, by the thread pool 40 us beside the write; on a disk, though, a link may wait for what others do there
    this.#linking = this.#host.descriptors.inMemory ? linkNow(temporary, this.file) : link(temporary, this.file)
  }

  async complete(temporary: string, payloadBytes: number): Promise<void> {
    this.measured(payloadBytes)
    if (this.#linking === null && !this.#host.own.isDoubtful) return // was linked at once
    await this.#try(this.#complete(temporary))
  }

  settle(): Promise<void> {
    return this.#failure === undefined ? this.#try(this.#host.own.settle(this.#directory)) : Promise.resolve()
  }

  /** Makes it another name of a copy that is there. Rejects with the file system's error. */
  async linkTo(other: PendingCopy): Promise<void> {
    this.begin(other.file)
    this.measured(other.bytes)
    await this.#complete(other.file)
    await this.#host.own.settle(this.#directory)
  }

  /** For writing it by itself, under another name first; the directory is made when it is missing. */
  async write(step: (unfinished: string) => Promise<void>): Promise<void> {
    this.#begin()
    try {
      return await step(unfinishedName(this.file))
    } catch (error) {
      if (!isMissing(error)) throw error
      await this.#move()
      return step(unfinishedName(this.file))
    }
  }

  /** Waits for whoever makes it, and removes it, wherever it is; what would make it later does not. Rejects with the file system's error. */
  async remove(): Promise<void> {
    this.#isGivenUp = true
    await this.#making
    this.#isThere = false
    if (!this.#mayBeOnDisk) return
    if (!(await this.#unlink()) && !(await this.#host.own.isOwn(this.#directory))) {
      // another process has it now, and must not upload it either
      const taken = await this.#host.own.whereIs(this.#directory, this.name)
      if (taken !== undefined) await unlink(taken)
    } else {
      await this.#host.own.settle(this.#directory).catch((error: unknown) => {
        if (!isMissing(error)) throw error // there never was a directory
      })
    }
    this.#mayBeOnDisk = false
  }

  /** Resolves when nothing makes it any more. */
  async idle(): Promise<void> {
    await this.#making
  }

  async #make(work: (maker: CopyMaker) => Promise<boolean>, before: Promise<unknown> | undefined): Promise<boolean> {
    if (before !== undefined) await before
    this.#linking = undefined
    this.#failure = undefined
    this.#late = undefined
    let stored = false
    try {
      stored = await work(this)
      return stored
    } finally {
      this.#isThere = stored && !this.#isGivenUp && this.#failure === undefined
      if (!this.#isThere && this.#late === undefined) await this.#discard()
    }
  }

  /** Does something in the journal for a put, which waits for it only so long. */
  async #try(work: Promise<void>): Promise<void> {
    const fail = (error: unknown): void => void (this.#failure ??= asFsError(error, 'write-back', this.key, true))
    const settled = work.catch(fail)
    if (await this.#host.inTime(settled)) return
    this.#failure ??= new CacheError('timeout', 'a copy for the journal of write-back was not made in time, and the entry was stored without', { operation: 'write-back', backend: 'fs', key: this.key })
    this.#late = settled.then(() => this.#discard())
  }

  #begin(): void {
    if (!this.#mayBeOnDisk) this.#moveTo(this.#host.own.current)
    this.#mayBeOnDisk = true
  }

  async #complete(temporary: string): Promise<void> {
    const failure = await this.#linking
    if (failure === null) {
      // who has taken the directory while this process slept saw a file that was not whole
      if (!this.#host.own.isDoubtful || (await this.#host.own.isOwn(this.#directory))) return
      await this.#move()
    } else {
      const code = failure?.code ?? ''
      if (code === 'ENOENT') await this.#move()
      else if (code === 'EEXIST') await this.#unlink() // the copy of an earlier attempt
      else if (COPIED_INSTEAD.has(code)) return this.#copyOrMove(temporary)
      else {
        this.#mayBeOnDisk = false
        throw failure as Error
      }
    }
    if (!(await this.#linkAgain(temporary))) await this.#copyOrMove(temporary)
  }

  async #copyOrMove(temporary: string): Promise<void> {
    await this.write((unfinished) => this.#copy(temporary, unfinished))
  }

  async #copy(temporary: string, unfinished: string): Promise<void> {
    try {
      await withFiles({}, () => fs.promises.copyFile(temporary, unfinished, fs.constants.COPYFILE_FICLONE))
      await this.#host.modes.settleFile(unfinished)
      if (this.#host.fsync) await syncPath(unfinished)
      await rename(unfinished, this.file)
    } catch (error) {
      await fs.promises.unlink(unfinished).catch(() => undefined)
      throw error
    }
  }

  /** Its directory is not there, or not this process's any more: it goes where new ones belong, and that is made. */
  async #move(): Promise<void> {
    this.#moveTo(await this.#host.own.make())
  }

  #moveTo(directory: OwnDirectory): void {
    if (directory === this.#directory) return
    this.#directory = directory
    this.#file = undefined
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
    if (this.#mayBeOnDisk)
      await this.#unlink().then(
        () => (this.#mayBeOnDisk = false),
        () => undefined,
      )
  }

  /** False when there is none. */
  #unlink(): Promise<boolean> {
    return unlink(this.file)
  }
}

async function unlink(file: string): Promise<boolean> {
  try {
    await fs.promises.unlink(file)
    return true
  } catch (error) {
    if (!isMissing(error) && codeOf(error) !== 'ENOTDIR') throw error
    return false
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
