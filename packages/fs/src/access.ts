import fs from 'node:fs'
import path from 'node:path'

/** Who may read and change what the cache keeps: its own user, or everybody in the directory's group. */
export type Access = 'private' | 'group'

const MODES = { private: { directory: 0o700, file: 0o600 }, group: { directory: 0o2770, file: 0o660 } } as const
/** Without set-user-id and sticky bit, which nobody asked for. */
const COMPARED = 0o2777

/** The modes of files and directories, whatever the process's umask is. */
export class Modes {
  readonly access: Access
  readonly directory: number
  readonly file: number

  constructor(access: Access) {
    this.access = access
    this.directory = MODES[access].directory
    this.file = MODES[access].file
  }

  /** Whether a file that was just made may lack a mode that it needs: the owner's own bits are not asked about. */
  get isMasked(): boolean {
    return this.access === 'group'
  }

  /** Whether a directory has the mode it should have. */
  fits(mode: number): boolean {
    return this.access === 'private' ? (mode & 0o077) === 0 : (mode & COMPARED) === this.directory
  }

  /** Gives an open file that was just made its mode. Never rejects: some file systems have no modes. */
  async settle(fd: number): Promise<void> {
    if (!this.isMasked) return
    await new Promise<void>((resolve) => {
      fs.fchmod(fd, this.file, () => resolve())
    })
  }

  /** The same for a file by its path. */
  async settleFile(file: string): Promise<void> {
    if (this.isMasked) await fs.promises.chmod(file, this.file).catch(() => undefined)
  }

  settleFileNow(file: string): void {
    if (!this.isMasked) return
    try {
      fs.chmodSync(file, this.file)
    } catch {
      // a file system without modes
    }
  }
}

/** A directory and whether what is made there, itself included, is the cache's own. */
export function isWithin(directory: string, root: string): boolean {
  return directory === root || directory.startsWith(root + path.sep)
}
