import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '@thermocline/core'
import { isMissing } from '../errors.js'
import { fsyncDirectory } from '../file-io.js'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { makeDirectory, makeDirectoryNow } from '../make-directory.js'
import { HEARTBEAT_MS, newOwnerName, newReleasedName } from './owner.js'

/** The directory of one process in the journal: made when it is first needed, and kept alive until it is released. */
export class OwnDirectory {
  readonly path: string
  readonly #root: string
  readonly #clock: () => Clock
  readonly #fsync: boolean
  readonly #modes: Modes
  #making: Promise<void> | undefined
  /** Kept open to be synced: three trips to the thread pool fewer each time. */
  #opened: Promise<fs.promises.FileHandle> | undefined
  #cancelHeartbeat: (() => void) | undefined
  #released = false

  constructor(root: string, clock: () => Clock, fsync: boolean, modes: Modes) {
    this.#modes = modes
    this.#root = root
    this.#clock = clock
    this.#fsync = fsync
    this.path = path.join(root, newOwnerName())
  }

  /** Rejects with the file system's error. */
  make(): Promise<void> {
    this.#making ??= this.#make().finally(() => (this.#making = undefined))
    return this.#making
  }

  /** The same at once; the directory above is there. */
  makeNow(): void {
    makeDirectoryNow(this.path, this.#modes)
    this.#startHeartbeat()
  }

  /** Makes names in the directory survive power loss, where that is asked for. */
  async settle(): Promise<void> {
    if (!this.#fsync) return
    this.#opened ??= withFiles({}, () => fs.promises.open(this.path, 'r'))
    try {
      await (await this.#opened).sync()
    } catch (error) {
      await this.#closeOpened()
      throw error
    }
  }

  /** Leaves what is in it to whoever comes next, without waiting for this process to end. */
  async release(): Promise<void> {
    if (this.#released) return
    this.#released = true
    this.#cancelHeartbeat?.()
    await this.#closeOpened()
    try {
      await fs.promises.rmdir(this.path) // goes only when it is empty
    } catch (error) {
      if (isMissing(error)) return
      await fs.promises.rename(this.path, path.join(this.#root, newReleasedName())).catch(() => undefined) // then when this process has ended
    }
  }

  async #make(): Promise<void> {
    if (this.#released) return
    await this.#closeOpened() // of one that somebody has removed
    const made = await makeDirectory(this.path, { root: this.#root, modes: this.#modes })
    if (this.#fsync) for (const each of made) await fsyncDirectory(path.dirname(each))
    this.#startHeartbeat()
  }

  async #closeOpened(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await opened?.then((directory) => directory.close()).catch(() => undefined)
  }

  #startHeartbeat(): void {
    if (this.#released) return
    this.#cancelHeartbeat ??= this.#clock().schedule(
      HEARTBEAT_MS,
      () => {
        const now = this.#clock().now() / 1000
        fs.utimes(this.path, now, now, () => {
          this.#cancelHeartbeat = undefined
          this.#startHeartbeat()
        })
      },
      { background: true },
    )
  }
}
