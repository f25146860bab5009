import fs from 'node:fs'
import { constants } from 'node:buffer'
import {
  decodeFrameHeader,
  FRAME_MAGIC,
  ownMemory,
  readFrame,
  readFrameHead,
  type EpochMs,
  type FrameContent,
  type FrameHeader,
  type OperationOptions,
} from '@thermocline/backend'
import { isMissing, isNoName, isNotAFile } from './errors.js'
import { closeInBackground, FIRST_READ, readFile, readFirst, readStart, TooLarge, type CloseFile, type Reading } from './file-io.js'

/** What a path holds. `too-large`: it may be sound, and is more than is read into memory. */
export type FileReading = FrameContent | { readonly status: 'missing' } | { readonly status: 'too-large'; readonly reason: string }

const NO_OPTIONS: OperationOptions = {}
const IN_BACKGROUND: Reading = { close: closeInBackground, maxBytes: constants.MAX_LENGTH }

/** Reads and checks an entry's file. Rejects with the file system's error when it cannot be read. */
export async function readEntryFile(path: string, want: 'head' | 'payload', options: OperationOptions = NO_OPTIONS, how: Reading = IN_BACKGROUND): Promise<FileReading> {
  let bytes: Buffer
  try {
    bytes = await readFile(path, want, options, how)
    if (want === 'head') return readFrameHead(bytes, FIRST_READ) ?? (await readLongHead(path, bytes, options, how.close))
  } catch (error) {
    return error instanceof TooLarge ? readTooLarge(path, error, options, how) : readingOfFailure(error)
  }
  const reading = readFrame(bytes)
  return reading.status === 'ok' && reading.payload !== undefined ? { ...reading, payload: ownMemory(reading.payload) } : reading
}

/** The header of a frame of which the file's first bytes hold a part. */
async function readLongHead(path: string, start: Buffer, options: OperationOptions, close: CloseFile): Promise<FrameContent> {
  const short = decodeFrameHeader(start)
  const needed = short.status === 'short' ? short.needed : FIRST_READ
  return readFrameHead(await readFirst(path, needed, options, close), needed) ?? { status: 'corrupt', reason: 'it ends inside its header' }
}

/** What the header tells of a file that is not read whole. */
async function readTooLarge(path: string, { bytes, message }: TooLarge, options: OperationOptions, how: Reading): Promise<FileReading> {
  const reading = await readEntryFile(path, 'head', options, how)
  if (reading.status !== 'ok') return reading
  const whole = reading.header.payloadOffset + reading.header.payloadBytes
  return whole === bytes ? { status: 'too-large', reason: message } : { status: 'corrupt', reason: `it does not have the ${whole} bytes that its header claims` }
}

/** What a failure to read says of the path; a failure of the disk is thrown. */
export function readingOfFailure(error: unknown): { readonly status: 'missing' } | { readonly status: 'foreign'; readonly reason: string } {
  if (isMissing(error) || isNoName(error)) return { status: 'missing' }
  if (isNotAFile(error)) return { status: 'foreign', reason: 'no file is in its place' }
  throw error
}

/** What was removed: its size, and its header if that could be read. */
export interface Removed {
  readonly bytes: number
  readonly header: FrameHeader | undefined
}

/**
 * Unlinks the file if it carries our magic; `undefined` when there is nothing of ours.
 *
 * @param onlyIf asked with the header (`undefined`: damaged) and the times in hand; `false` leaves the file
 * @param unlink how
 */
export async function removeEntryFile(
  path: string,
  close: CloseFile,
  onlyIf?: (header: FrameHeader | undefined, times: FileTimes) => boolean,
  unlink: (header: FrameHeader | undefined) => Promise<void> = () => fs.promises.unlink(path),
): Promise<Removed | undefined> {
  try {
    const { bytes, stats } = await readStart(path, close)
    const reading = readFrameHead(bytes, FIRST_READ) ?? (await readLongHead(path, bytes, NO_OPTIONS, close))
    if (reading.status === 'foreign') return undefined
    const header = reading.status === 'ok' ? reading.header : undefined
    if (onlyIf !== undefined && !onlyIf(header, timesOf(stats))) return undefined
    await unlink(header)
    return { bytes: stats.size, header }
  } catch (error) {
    if (isMissing(error) || isNoName(error) || isNotAFile(error)) return undefined
    throw error
  }
}

/**
 * Unlinks a file that a crashed write left, if it was not changed since `before` and is one of ours as far as it goes: a
 * write that broke off at once leaves nothing but the name. Returns the bytes that are gone.
 */
export async function removeLeftover(path: string, before: EpochMs): Promise<number> {
  try {
    const { ctimeMs, size } = await fs.promises.lstat(path)
    if (ctimeMs >= before) return 0
    const start = (await readFile(path, 'head', NO_OPTIONS, IN_BACKGROUND)).subarray(0, FRAME_MAGIC.length)
    if (!start.equals(FRAME_MAGIC.subarray(0, start.length))) return 0
    await fs.promises.unlink(path)
    return size
  } catch {
    return 0 // gone meanwhile, or not to be removed: the next sweep tries again
  }
}

/**
 * What a file's times tell, so that a directory is listed, swept and kept under its limit without opening files: the
 * modification time is the last use and the access time, which an entry has no use for, the end of its life. Both are set
 * while the file gets its name. Until then, and if the process dies meanwhile, they are those of its creation, which says
 * the last use and no end; an access time that is not later than the modification time is therefore no end of a life.
 */
export interface FileTimes {
  readonly usedAt: EpochMs
  /** `undefined`: only the header knows. */
  readonly keepUntil: EpochMs | undefined
}

/** Beyond this (2100-01-01) file systems differ in what they can store; the header has the real instant. */
const LATEST_MS = 4_102_444_800_000

export function timesOf({ atimeMs, mtimeMs }: { readonly atimeMs: number; readonly mtimeMs: number }): FileTimes {
  const keepUntil = atimeMs >= LATEST_MS ? Number.POSITIVE_INFINITY : Math.round(atimeMs)
  return { usedAt: mtimeMs, keepUntil: atimeMs > mtimeMs ? keepUntil : undefined }
}

/** The access time, in epoch milliseconds, that stands for the end of a life. */
export function accessTimeOf(keepUntil: EpochMs): EpochMs {
  return Math.min(keepUntil, LATEST_MS)
}
