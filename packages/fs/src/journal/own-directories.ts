import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '@thermocline/backend'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { isMissing } from '../errors.js'
import { fsyncDirectory, namesIfThere, rename } from '../file-io.js'
import { makeDirectory } from '../make-directory.js'
import { HEARTBEAT_MS, newId, ownerName, releasedName, SILENT_MS } from './owner.js'

/** How something begins that is in a directory for a moment, to show that its process lives. */
const BEAT = 'beat-'

/** One directory in the journal that is this process's, or was. */
export class OwnDirectory {
  readonly id: string
  readonly path: string
  /** Another process has taken it up, because this one was silent for so long; or somebody has removed it. What was in it is not this process's any more. */
  isLost = false
  isMade = false
  /** How many copies in it were there when it was taken up, and are not done with. */
  found = 0
  /** Kept open to be synced: three trips to the thread pool fewer each time. */
  #opened: Promise<fs.promises.FileHandle> | undefined

  constructor(root: string, id: string) {
    this.id = id
    this.path = path.join(root, ownerName(id))
  }

  /** Makes the names in it survive power loss. Rejects with the file system's error. */
  async sync(): Promise<void> {
    this.#opened ??= withFiles({}, () => fs.promises.open(this.path, 'r'))
    try {
      await (await this.#opened).sync()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await opened?.then((directory) => directory.close()).catch(() => undefined)
  }
}

/**
 * The directories of one process in the journal: one for what it makes itself, made when it is first needed, and those that it has taken
 * up. They are kept alive until they are released.
 */
export class OwnDirectories {
  readonly #root: string
  readonly #clock: () => Clock
  readonly #fsync: boolean
  readonly #modes: Modes
  readonly #kept = new Set<OwnDirectory>()
  #current: OwnDirectory
  #making: Promise<OwnDirectory> | undefined
  #cancelHeartbeat: (() => void) | undefined
  #aliveAt: number | undefined
  #released = false

  constructor(root: string, clock: () => Clock, fsync: boolean, modes: Modes) {
    this.#root = root
    this.#clock = clock
    this.#fsync = fsync
    this.#modes = modes
    this.#current = new OwnDirectory(root, newId())
  }

  /** Where new copies belong. It may not be there yet. */
  get current(): OwnDirectory {
    return this.#current
  }

  /** Those that are there. */
  get kept(): readonly OwnDirectory[] {
    return [...this.#kept]
  }

  /** Whether this process was silent for so long, by its own measure, that another may have taken its directories. */
  get isDoubtful(): boolean {
    return this.#aliveAt !== undefined && this.#clock().monotonic() - this.#aliveAt > SILENT_MS / 2
  }

  /** The directory for new copies, which is there then. Rejects with the file system's error. */
  make(): Promise<OwnDirectory> {
    this.#making ??= this.#make().finally(() => (this.#making = undefined))
    return this.#making
  }

  /** Takes up a directory of somebody who is gone: one rename, which wins or loses. Throws the file system's error. */
  adopt(name: string, id: string): OwnDirectory {
    const directory = new OwnDirectory(this.#root, id)
    fs.renameSync(path.join(this.#root, name), directory.path)
    this.#keep(directory)
    return directory
  }

  /** Asks the disk whether a directory is still this process's. Rejects with the file system's error. */
  async isOwn(directory: OwnDirectory): Promise<boolean> {
    if (directory.isLost) return false
    try {
      await fs.promises.stat(directory.path)
      return true
    } catch (error) {
      if (!isMissing(error)) throw error
      if (directory.isMade) this.#lose(directory)
      return !directory.isMade
    }
  }

  /** Where a file of a directory that was lost lies now; `undefined`: nowhere. Rejects with the file system's error. */
  async whereIs(directory: OwnDirectory, name: string): Promise<string | undefined> {
    const names = await namesIfThere(this.#root)
    const taken = names.find((each) => each.endsWith(`.${directory.id}`))
    return taken === undefined ? undefined : path.join(this.#root, taken, name)
  }

  /** Makes names in the directory survive power loss, where that is asked for. */
  async settle(directory: OwnDirectory): Promise<void> {
    if (this.#fsync) await directory.sync()
  }

  /** Removes one that was taken up, if it is empty. */
  async removeIfEmpty(directory: OwnDirectory): Promise<void> {
    if (directory === this.#current || directory.isLost) return
    await directory.close()
    await fs.promises.rmdir(directory.path).then(
      () => this.#kept.delete(directory),
      () => undefined,
    )
  }

  /** The same at once, for those that were taken up and have nothing that is wanted. */
  removeEmptyNow(): void {
    for (const directory of this.#kept) {
      if (directory === this.#current || directory.found > 0) continue
      try {
        fs.rmdirSync(directory.path)
        this.#kept.delete(directory)
      } catch {
        // somebody's file is in it
      }
    }
  }

  /** Leaves what is in them to whoever comes next, without waiting for this process to end. */
  async release(): Promise<void> {
    if (this.#released) return
    this.#released = true
    this.#cancelHeartbeat?.()
    for (const directory of this.#kept) {
      await directory.close()
      await fs.promises.rmdir(directory.path).catch(async (error: unknown) => {
        if (isMissing(error)) return
        await rename(directory.path, path.join(this.#root, releasedName(directory.id))).catch(() => undefined) // then when this process has ended
      })
    }
  }

  async #make(): Promise<OwnDirectory> {
    if (this.#current.isMade) await this.isOwn(this.#current) // who has taken it keeps it
    const directory = this.#current
    if (this.#released) return directory
    const made = await makeDirectory(directory.path, { root: this.#root, modes: this.#modes })
    if (this.#fsync) for (const each of made) await fsyncDirectory(path.dirname(each))
    this.#keep(directory)
    return directory
  }

  #keep(directory: OwnDirectory): void {
    directory.isMade = true
    this.#kept.add(directory)
    this.#aliveAt ??= this.#clock().monotonic()
    this.#startHeartbeat()
  }

  #lose(directory: OwnDirectory): void {
    directory.isLost = true
    this.#kept.delete(directory)
    void directory.close()
    if (directory === this.#current) this.#current = new OwnDirectory(this.#root, newId())
  }

  #startHeartbeat(): void {
    if (this.#released) return
    this.#cancelHeartbeat ??= this.#clock().schedule(HEARTBEAT_MS, () => void this.#beat(), { background: true })
  }

  async #beat(): Promise<void> {
    const beganAt = this.#clock().monotonic()
    const now = this.#clock().now() / 1000
    await Promise.all(
      this.kept.map(async (directory) => {
        try {
          await touch(directory.path, now)
        } catch (error) {
          if (isMissing(error)) this.#lose(directory)
        }
      }),
    )
    this.#aliveAt = beganAt
    this.#cancelHeartbeat = undefined
    this.#startHeartbeat()
  }
}

/** Changes when a directory was changed last. Whose it is of several users who share it does not matter. */
async function touch(directory: string, seconds: number): Promise<void> {
  try {
    await fs.promises.utimes(directory, seconds, seconds)
  } catch (error) {
    if (isMissing(error)) throw error
    // only its owner may say when; what is made in it says so, too
    const made = await fs.promises.mkdtemp(path.join(directory, BEAT))
    await fs.promises.rmdir(made)
  }
}
