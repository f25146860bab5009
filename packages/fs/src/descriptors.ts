import fs from 'node:fs'
import { closeInBackground, type CloseFile } from './file-io.js'

const TMPFS = 0x01021994
/**
 * File systems that live on this machine: their `f_type` in Linux's statfs(2). Closing a file there takes about a
 * microsecond and asks nobody. A network file system or one in user space may wait for its server.
 */
const LOCAL: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xf2f52010, // f2fs
  TMPFS,
  0x794c7630, // overlayfs
])

/**
 * Closes the files of one directory: at once where that cannot wait for anybody, which saves a trip to the thread pool, a
 * fifth of the cost of a small read; else in the background. And knows whether it lies in memory, where nothing ever waits for a disk.
 */
export class Descriptors {
  readonly #directory: string
  #closeAtOnce = false
  #inMemory = false

  constructor(directory: string) {
    this.#directory = directory
  }

  readonly close: CloseFile = (fd) => {
    if (!this.#closeAtOnce) return closeInBackground(fd)
    try {
      fs.closeSync(fd)
    } catch {
      // nothing to be done about it
    }
  }

  get inMemory(): boolean {
    return this.#inMemory
  }

  /** Finds out in the background where the directory is; without an answer, or before there is one, nothing changes. */
  look(): void {
    if (process.platform !== 'linux') return
    fs.statfs(this.#directory, (error, stats) => {
      this.#closeAtOnce = error === null && LOCAL.has(stats.type)
      this.#inMemory = error === null && stats.type === TMPFS
    })
  }
}
