import fs from 'node:fs'
import path from 'node:path'
import type { JournalSlot } from '@thermocline/core'
import { codeOf, isMissing, NO_HARD_LINKS } from '../errors.js'
import { rename, syncFile } from '../file-io.js'
import { copyName, unfinishedName } from './copy-name.js'
import type { OwnDirectory } from './own-directory.js'

/** Another disk, or too many links of one file: a copy does it. */
const COPIED_INSTEAD: ReadonlySet<string> = new Set([...NO_HARD_LINKS, 'EXDEV', 'EMLINK'])

/** Makes a second name of a file while that is written. */
export interface CopyMaker {
  /** The temporary file is there; its bytes may not be. */
  begin(temporary: string): void
  /** The temporary file is whole. Rejects with the file system's error when there is no copy of it. */
  complete(temporary: string): Promise<void>
  /** Makes the copy survive power loss, where that is asked for. */
  settle(): Promise<void>
}

const copies = new WeakMap<JournalSlot, PendingCopy>()

/** The copy of a slot that a journal gave out. */
export function pendingCopyOf(slot: JournalSlot): PendingCopy | undefined {
  return copies.get(slot)
}

/**
 * The copy of one pending upload. Normally a hard link to the entry's file, made while that is being written: link and write go to the thread
 * pool together. What a crash leaves of such a file is shorter than its header claims, and was never acknowledged.
 */
export class PendingCopy implements CopyMaker {
  readonly slot: JournalSlot
  readonly file: string
  readonly #own: OwnDirectory
  readonly #fsync: boolean
  #linking: Promise<boolean> | undefined
  /** Settles when nothing makes the copy any more. */
  #making: Promise<unknown> | undefined
  #isThere: boolean
  #isGivenUp = false

  constructor(slot: JournalSlot, own: OwnDirectory, fsync: boolean, isThere: boolean) {
    this.slot = slot
    this.#own = own
    this.#fsync = fsync
    this.#isThere = isThere
    this.file = path.join(own.path, copyName(slot))
    copies.set(slot, this)
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

  begin(temporary: string): void {
    this.#linking = this.#link(temporary)
    this.#linking.catch(() => undefined) // asked for in `complete`
  }

  async complete(temporary: string): Promise<void> {
    if (await this.#linking) return
    const unfinished = unfinishedName(this.file)
    try {
      await this.#inDirectory(() => fs.promises.copyFile(temporary, unfinished, fs.constants.COPYFILE_FICLONE))
      if (this.#fsync) await syncPath(unfinished)
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
    await this.complete(other.file)
    await this.settle()
  }

  /** For writing it by itself, under another name first; the directory is made when it is missing. */
  write(step: (unfinished: string) => Promise<void>): Promise<void> {
    const unfinished = unfinishedName(this.file)
    return this.#inDirectory(() => step(unfinished))
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

  /** Runs a step that needs the directory, making it when it is missing. */
  async #inDirectory<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      if (!isMissing(error)) throw error
      await this.#own.make()
      return step()
    }
  }

  /** False where a link cannot be had. */
  async #link(temporary: string): Promise<boolean> {
    try {
      await this.#inDirectory(() => fs.promises.link(temporary, this.file))
      return true
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return this.#replace(temporary) // the copy of an earlier attempt
      if (COPIED_INSTEAD.has(codeOf(error) ?? '')) return false
      throw error
    }
  }

  async #replace(temporary: string): Promise<boolean> {
    await this.#unlink()
    await fs.promises.link(temporary, this.file)
    return true
  }

  async #discard(): Promise<void> {
    await this.#linking?.catch(() => undefined)
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
  const opened = await fs.promises.open(file, 'r')
  try {
    await syncFile(opened.fd)
  } finally {
    await opened.close()
  }
}
