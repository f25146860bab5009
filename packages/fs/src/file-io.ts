import fs from 'node:fs'
import type { OperationOptions } from '@thermocline/core'

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

type Done<T> = (error: NodeJS.ErrnoException | null, result?: T) => void

/** Gives back a descriptor. A descriptor that cannot be closed is closed. */
export type CloseFile = (fd: number) => void

export const closeInBackground: CloseFile = (fd) => {
  fs.close(fd, ignore)
}

/** The file's bytes, or its first ones (`head`: at most 16 KiB). Rejects with the file system's error. */
export function readFile(path: string, want: 'head' | 'payload', options: OperationOptions, close: CloseFile): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    openForReading(path, (error, fd) => {
      if (error !== null) return reject(error)
      readOpen(fd as number, want, options, (failure, bytes) => {
        close(fd as number)
        if (failure !== null) reject(failure)
        else resolve(bytes as Buffer)
      })
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
export function openStart(path: string, close: CloseFile): Promise<FileStart & { readonly fd: number }> {
  return new Promise((resolve, reject) => {
    openForReading(path, (error, opened) => {
      if (error !== null) return reject(error)
      const fd = opened as number
      fs.fstat(fd, (statFailure, stats) => {
        readOpen(fd, 'head', {}, (failure, bytes) => {
          if (failure === null && statFailure === null) return resolve({ fd, bytes: bytes as Buffer, stats })
          close(fd)
          reject(failure ?? (statFailure as Error))
        })
      })
    })
  })
}

/** So many bytes from there on, in memory of their own; fewer at the file's end. */
export function readAt(fd: number, bytes: number, at: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    fs.read(fd, Buffer.allocUnsafeSlow(bytes), 0, bytes, at, (error, count, piece) => (error === null ? resolve(piece.subarray(0, count)) : reject(error)))
  })
}

/** Creates a file that must not exist; resolves with its descriptor. */
export function openNewFile(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'wx', 0o600, (error, fd) => (error === null ? resolve(fd) : reject(error)))
  })
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
export function writeNewFile(path: string, parts: readonly Uint8Array[], options: OperationOptions, opened?: () => void): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'wx', 0o600, (error, fd) => {
      if (error !== null) return reject(error)
      opened?.()
      writeParts(fd, parts, 0, options, (failure) => {
        if (failure === null) return resolve(fd)
        closeInBackground(fd)
        reject(failure)
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

/**
 * Moves the file's modification time forward. Through a descriptor, because the name may be given to a newer file at any
 * moment, whose access time is its own.
 */
export async function touchFile(path: string, usedAtMs: number): Promise<void> {
  const file = await fs.promises.open(path, READ_FLAGS)
  try {
    const { atimeMs, mtimeMs } = await file.stat()
    if (mtimeMs < usedAtMs) await file.utimes(Math.round(atimeMs) / 1000, usedAtMs / 1000)
  } finally {
    await file.close()
  }
}

/** Makes a rename in the directory survive power loss. */
export async function fsyncDirectory(path: string): Promise<void> {
  const directory = await fs.promises.open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function openForReading(path: string, done: Done<number>): void {
  fs.open(path, READ_FLAGS, (error, fd) => {
    // somebody else's file may be read, but not without touching its access time
    if (error?.code === 'EPERM') fs.open(path, PLAIN_READ_FLAGS, done)
    else done(error, fd)
  })
}

function readOpen(fd: number, want: 'head' | 'payload', options: OperationOptions, done: Done<Buffer>): void {
  const first = Buffer.allocUnsafe(FIRST_READ)
  fs.read(fd, first, 0, FIRST_READ, 0, (error, count) => {
    if (error !== null) return done(error)
    if (count < FIRST_READ || want === 'head') return done(null, first.subarray(0, count))
    fs.fstat(fd, (statError, stats) => {
      if (statError !== null) return done(statError)
      const whole = Buffer.allocUnsafeSlow(Math.max(stats.size, count))
      first.copy(whole)
      readRest(fd, whole, count, options, done)
    })
  })
}

function readRest(fd: number, whole: Buffer, from: number, options: OperationOptions, done: Done<Buffer>): void {
  if (from >= whole.length) return done(null, whole)
  fs.read(fd, whole, from, Math.min(PIECE, whole.length - from), from, (error, count) => {
    if (error !== null) return done(error)
    if (count === 0) return done(null, whole.subarray(0, from))
    options.progress?.()
    readRest(fd, whole, from + count, options, done)
  })
}

function writeParts(fd: number, parts: readonly Uint8Array[], at: number, options: OperationOptions, done: Done<void>): void {
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0)
  if (total > PIECE) return writePieces(fd, parts.flatMap(pieces), at, options, done)
  fs.writev(fd, parts, at, (error, written) => {
    if (error !== null) return done(error)
    if (written === total) return done(null)
    writePieces(fd, rest(parts, written), at + written, options, done) // a short write: a signal, or the disk is nearly full
  })
}

function writePieces(fd: number, left: readonly Uint8Array[], at: number, options: OperationOptions, done: Done<void>): void {
  const [piece, ...others] = left
  if (piece === undefined) return done(null)
  fs.write(fd, piece, 0, piece.byteLength, at, (error, written) => {
    if (error !== null) return done(error)
    options.progress?.()
    writePieces(fd, written === piece.byteLength ? others : [piece.subarray(written), ...others], at + written, options, done)
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
