import fs from 'node:fs'
import { FRAME_MAGIC, type OperationOptions } from '@thermocline/backend'
import { withFiles } from './disk.js'
import { codeOf, isMissing, isOutOfFiles } from './errors.js'

/*
 * Whole-file reads and writes on the callback API: 1.1 to 1.4 times the promise API here, because one promise is made
 * for a file instead of one for each step.
 */

/** Reads this much first: most entries and every header fit, so they take one read and no stat. */
export const FIRST_READ = 16 * 1024
/** Larger files are read and written in such pieces, and each renews the time budget. */
const PIECE = 8 * 1024 * 1024

/** Waits for nobody: somebody else's pipe in an entry's place must not hold a thread. */
const PLAIN_READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0)
/** Keeps the access time for us: it is the end of the entry's life. */
const READ_FLAGS = PLAIN_READ_FLAGS | (fs.constants.O_NOATIME ?? 0)

const NO_OPTIONS: OperationOptions = {}

type Done<T> = (error: NodeJS.ErrnoException | null, result?: T) => void

/** Gives back a descriptor. A descriptor that cannot be closed is closed. */
export type CloseFile = (fd: number) => void

export const closeInBackground: CloseFile = (fd) => {
  fs.close(fd, ignore)
}

/** How a file is read whole. */
export interface Reading {
  readonly close: CloseFile
  /** More is not taken into memory. */
  readonly maxBytes: number
}

/** There is more of a file than may be taken into memory. */
export class TooLarge extends Error {
  readonly bytes: number

  constructor(bytes: number, maxBytes: number) {
    super(`it has ${bytes} bytes, and no more than ${maxBytes} are read into memory at once`)
    this.bytes = bytes
  }
}

/**
 * The file's bytes, or its first ones (`head`: at most 16 KiB). Of a file that does not begin as one of ours nothing more is read than
 * that. Rejects with the file system's error, or with {@link TooLarge}.
 */
export function readFile(path: string, want: 'head' | 'payload', options: OperationOptions, { close, maxBytes }: Reading): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    openForReading(path, options, (error, fd) => {
      if (error !== null) return reject(error)
      readOpen(fd as number, want, maxBytes, options, (failure, bytes) => {
        close(fd as number)
        if (failure !== null) reject(failure)
        else resolve(bytes as Buffer)
      })
    })
  })
}

/** The file's first bytes, so many or as many as there are. */
export function readFirst(path: string, bytes: number, options: OperationOptions, close: CloseFile): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    openForReading(path, options, (error, fd) => {
      if (error !== null) return reject(error)
      readAt(fd as number, bytes, 0)
        .finally(() => close(fd as number))
        .then(resolve, reject)
    })
  })
}

/** A file's first bytes, at most 16 KiB, and what its inode says. */
export interface FileStart {
  readonly bytes: Buffer
  readonly stats: fs.Stats
}

export async function readStart(path: string, close: CloseFile): Promise<FileStart> {
  const start = await openStart(path, close)
  close(start.fd)
  return start
}

/** The same, and the file stays open. After a failure it is not. */
export function openStart(path: string, close: CloseFile, options: OperationOptions = {}): Promise<FileStart & { readonly fd: number }> {
  return new Promise((resolve, reject) => {
    openForReading(path, options, (error, opened) => {
      if (error !== null) return reject(error)
      const fd = opened as number
      const failed = (failure: Error): void => {
        close(fd)
        reject(failure)
      }
      fs.fstat(fd, (statFailure, stats) => {
        if (statFailure !== null) return failed(statFailure)
        readOpen(fd, 'head', FIRST_READ, {}, (failure, bytes) => (failure === null ? resolve({ fd, bytes: bytes as Buffer, stats }) : failed(failure)))
      })
    })
  })
}

/** Opens a file to be read that was open before. */
export function openAgain(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    openForReading(path, {}, (error, fd) => (error === null ? resolve(fd as number) : reject(error)))
  })
}

/** So many bytes from there on, in memory of their own; fewer at the file's end. */
export function readAt(fd: number, bytes: number, at: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // what is thrown here rejects the promise
    fs.read(fd, Buffer.allocUnsafeSlow(bytes), 0, bytes, at, (error, count, piece) => (error === null ? resolve(piece.subarray(0, count)) : reject(error)))
  })
}

/** Creates a file that must not exist; resolves with its descriptor. */
export function openNewFile(path: string, mode: number, options: OperationOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    create(path, mode, options, (error, fd) => (error === null ? resolve(fd as number) : reject(error)))
  })
}

/** Opens a file to be written further. */
export function openForWriting(path: string): Promise<number> {
  return withFiles(NO_OPTIONS, () => open(path, fs.constants.O_WRONLY))
}

/** Opens a file to be read and to be appended to, by several processes at once. */
export function openToAppend(path: string): Promise<number> {
  return withFiles(NO_OPTIONS, () => open(path, fs.constants.O_RDWR | fs.constants.O_APPEND))
}

/** Writes parts one after the other, from there on. */
export function writeAt(fd: number, parts: readonly Uint8Array[], at: number, options: OperationOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    writeParts(fd, parts, at, options, (error) => (error === null ? resolve() : reject(error)))
  })
}

/**
 * Creates a file that must not exist and writes it whole; resolves with its descriptor, still open. After a failure nothing
 * is open; the file may be there in part.
 *
 * @param opened called when the file is there, before its bytes are
 */
export function writeNewFile(path: string, mode: number, parts: readonly Uint8Array[], options: OperationOptions, opened?: () => void): Promise<number> {
  return new Promise((resolve, reject) => {
    create(path, mode, options, (error, created) => {
      if (error !== null) return reject(error)
      const fd = created as number
      const done: Done<void> = (failure) => {
        if (failure === null) return resolve(fd)
        closeInBackground(fd)
        reject(failure)
      }
      safely(done, () => {
        opened?.()
        options.progress?.()
        writeParts(fd, parts, 0, options, done)
      })
    })
  })
}

/** Sets an open file's times, in epoch milliseconds. Never rejects: a file that keeps its own times is good without. */
export function setTimes(fd: number, accessMs: number, modificationMs: number): Promise<void> {
  return new Promise((resolve) => {
    fs.futimes(fd, accessMs / 1000, modificationMs / 1000, () => resolve())
  })
}

export function syncFile(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(fd, (error) => (error === null ? resolve() : reject(error)))
  })
}

/** A file's size; 0 when there is none. */
export function sizeOfFile(path: string): Promise<number> {
  return new Promise((resolve) => {
    fs.lstat(path, (error, stats) => resolve(error === null ? stats.size : 0))
  })
}

export function rename(from: string, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.rename(from, to, (error) => (error === null ? resolve() : reject(error)))
  })
}

/** Whether there was one. */
export async function unlinkIfThere(path: string): Promise<boolean> {
  try {
    await fs.promises.unlink(path)
    return true
  } catch (error) {
    if (!isMissing(error)) throw error
    return false
  }
}

/** The names in a directory; none when it does not exist. */
export async function namesIfThere(directory: string): Promise<string[]> {
  try {
    return await withFiles(NO_OPTIONS, () => fs.promises.readdir(directory))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/**
 * Moves the file's modification time forward. Through a descriptor, because the name may be given to a newer file at any
 * moment, whose access time is its own.
 */
export async function touchFile(path: string, usedAtMs: number): Promise<void> {
  const file = await withFiles(NO_OPTIONS, () => fs.promises.open(path, READ_FLAGS))
  try {
    const { atimeMs, mtimeMs } = await file.stat()
    if (mtimeMs < usedAtMs) await file.utimes(Math.round(atimeMs) / 1000, usedAtMs / 1000)
  } finally {
    await file.close()
  }
}

/** Makes a rename in the directory survive power loss. */
export async function fsyncDirectory(path: string): Promise<void> {
  const directory = await withFiles(NO_OPTIONS, () => fs.promises.open(path, 'r'))
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function openForReading(path: string, options: OperationOptions, done: Done<number>): void {
  fs.open(path, READ_FLAGS, (error, fd) => {
    // somebody else's file may be read, but not without touching its access time
    if (error?.code === 'EPERM') fs.open(path, PLAIN_READ_FLAGS, done)
    else if (isOutOfFiles(error)) withFiles(options, () => openReadable(path)).then((opened) => done(null, opened), done)
    else done(error, fd)
  })
}

async function openReadable(path: string): Promise<number> {
  try {
    return await open(path, READ_FLAGS)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') throw error
    return open(path, PLAIN_READ_FLAGS)
  }
}

function create(path: string, mode: number, options: OperationOptions, done: Done<number>): void {
  fs.open(path, 'wx', mode, (error, fd) => {
    if (isOutOfFiles(error)) withFiles(options, () => open(path, 'wx', mode)).then((opened) => done(null, opened), done)
    else done(error, fd)
  })
}

function open(path: string, flags: string | number, mode?: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, mode, (error, fd) => (error === null ? resolve(fd) : reject(error)))
  })
}

function readOpen(fd: number, want: 'head' | 'payload', maxBytes: number, options: OperationOptions, done: Done<Buffer>): void {
  const first = Buffer.allocUnsafe(FIRST_READ)
  fs.read(fd, first, 0, FIRST_READ, 0, (error, count) => {
    if (error !== null) return done(error)
    if (count < FIRST_READ || want === 'head' || !isOurs(first)) return done(null, first.subarray(0, count))
    fs.fstat(fd, (statError, stats) => {
      if (statError !== null) return done(statError)
      safely(done, () => {
        if (stats.size > maxBytes) throw new TooLarge(stats.size, maxBytes)
        const whole = Buffer.allocUnsafeSlow(Math.max(stats.size, count))
        first.copy(whole)
        readRest(fd, whole, count, options, done)
      })
    })
  })
}

function isOurs(bytes: Buffer): boolean {
  return FRAME_MAGIC.every((byte, at) => bytes[at] === byte)
}

function readRest(fd: number, whole: Buffer, from: number, options: OperationOptions, done: Done<Buffer>): void {
  if (from >= whole.length) return done(null, whole)
  fs.read(fd, whole, from, Math.min(PIECE, whole.length - from), from, (error, count) => {
    if (error !== null) return done(error)
    if (count === 0) return done(null, whole.subarray(0, from))
    safely(done, () => {
      options.progress?.()
      readRest(fd, whole, from + count, options, done)
    })
  })
}

/** What is thrown in a callback of the file system has nobody to catch it: it is the outcome. `step` throws before it calls `done`, or never. */
function safely<T>(done: Done<T>, step: () => void): void {
  try {
    step()
  } catch (error) {
    done(error as Error)
  }
}

function writeParts(fd: number, parts: readonly Uint8Array[], at: number, options: OperationOptions, done: Done<void>): void {
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0)
  if (total > PIECE) return writePieces(fd, parts.flatMap(pieces), at, options, done)
  fs.writev(fd, parts, at, (error, written) => {
    if (error !== null) return done(error)
    if (written === total) return done(null)
    safely(done, () => writePieces(fd, rest(parts, written), at + written, options, done)) // a short write: a signal, or the disk is nearly full
  })
}

function writePieces(fd: number, left: readonly Uint8Array[], at: number, options: OperationOptions, done: Done<void>): void {
  const [piece, ...others] = left
  if (piece === undefined) return done(null)
  fs.write(fd, piece, 0, piece.byteLength, at, (error, written) => {
    if (error !== null) return done(error)
    safely(done, () => {
      options.progress?.()
      writePieces(fd, written === piece.byteLength ? others : [piece.subarray(written), ...others], at + written, options, done)
    })
  })
}

function pieces(part: Uint8Array): Uint8Array[] {
  const cut: Uint8Array[] = []
  for (let at = 0; at < part.byteLength; at += PIECE) cut.push(part.subarray(at, at + PIECE))
  return cut
}

function rest(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let skip = written
  return parts.flatMap((part) => {
    const cut = part.subarray(Math.min(skip, part.byteLength))
    skip -= part.byteLength - cut.byteLength
    return cut.byteLength === 0 ? [] : [cut]
  })
}

function ignore(): void {
  // nothing to be done about it
}
