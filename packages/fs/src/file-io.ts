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

/** The first bytes of a file, at most 16 KiB, and what its inode says. */
export function readStart(path: string, close: CloseFile): Promise<{ readonly bytes: Buffer; readonly stats: fs.Stats }> {
  return new Promise((resolve, reject) => {
    openForReading(path, (error, fd) => {
      if (error !== null) return reject(error)
      fs.fstat(fd as number, (statFailure, stats) => {
        readOpen(fd as number, 'head', {}, (failure, bytes) => {
          close(fd as number)
          if (failure !== null || statFailure !== null) reject(failure ?? (statFailure as Error))
          else resolve({ bytes: bytes as Buffer, stats })
        })
      })
    })
  })
}

/**
 * Creates a file that must not exist and writes it whole; resolves with its descriptor, still open. After a failure nothing
 * is open; the file may be there in part.
 */
export function writeNewFile(path: string, parts: readonly Uint8Array[], options: OperationOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'wx', 0o600, (error, fd) => {
      if (error !== null) return reject(error)
      writeParts(fd, parts, options, (failure) => {
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

function writeParts(fd: number, parts: readonly Uint8Array[], options: OperationOptions, done: Done<void>): void {
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0)
  if (total > PIECE) return writePieces(fd, parts.flatMap(pieces), 0, options, done)
  fs.writev(fd, parts, 0, (error, written) => {
    if (error !== null) return done(error)
    if (written === total) return done(null)
    writePieces(fd, rest(parts, written), written, options, done) // a short write: a signal, or the disk is nearly full
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
