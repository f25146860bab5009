import fs from 'node:fs'
import { decodeFrameHeader, FRAME_MAGIC, payloadProblem, type EpochMs, type FrameHeader, type OperationOptions } from '@thermocline/core'
import { isMissing, isNotAFile } from './errors.js'
import { FIRST_READ, readFile } from './file-io.js'

/** What a path holds. */
export type FileReading =
  | { readonly status: 'ok'; readonly header: FrameHeader; readonly payload: Buffer | undefined; readonly bytes: number }
  | { readonly status: 'missing' }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

const NO_OPTIONS: OperationOptions = {}

/** Reads and checks an entry's file. Rejects with the file system's error when it cannot be read. */
export async function readEntryFile(path: string, want: 'head' | 'payload', options: OperationOptions = NO_OPTIONS): Promise<FileReading> {
  let bytes: Buffer
  try {
    bytes = await readFile(path, want, options)
  } catch (error) {
    if (isMissing(error)) return { status: 'missing' }
    if (isNotAFile(error)) return { status: 'foreign', reason: 'no file is in its place' }
    throw error
  }
  const reading = decodeFrameHeader(bytes)
  if (reading.status === 'short') {
    // a header longer than a head read is rare; a file that is too short for its own header is cut off
    if (want === 'head' && bytes.length >= FIRST_READ) return readEntryFile(path, 'payload', options)
    return bytes.length < 4 ? { status: 'foreign', reason: 'it is too short to be a frame' } : { status: 'corrupt', reason: 'it ends inside its header' }
  }
  if (reading.status !== 'ok') return reading
  const header = reading.value
  if (want === 'head') {
    const claimed = header.payloadOffset + header.payloadBytes
    if (bytes.length !== Math.min(claimed, FIRST_READ)) return { status: 'corrupt', reason: `it does not have the ${claimed} bytes that its header claims` }
    return { status: 'ok', header, payload: undefined, bytes: claimed }
  }
  const payload = bytes.subarray(header.payloadOffset)
  const problem = payloadProblem(header, payload)
  if (problem !== undefined) return { status: 'corrupt', reason: problem }
  return { status: 'ok', header, payload: ownMemory(payload), bytes: bytes.length }
}

/** What was removed: its size, and its header if that could be read. */
export interface Removed {
  readonly bytes: number
  readonly header: FrameHeader | undefined
}

/**
 * Unlinks the file if it carries our magic; `undefined` when there is nothing of ours.
 *
 * @param onlyIf looked at with the header in hand (`undefined`: damaged); `false` leaves the file
 */
export async function removeEntryFile(path: string, onlyIf?: (header: FrameHeader | undefined) => boolean): Promise<Removed | undefined> {
  const reading = await readEntryFile(path, 'head')
  if (reading.status === 'missing' || reading.status === 'foreign') return undefined
  const header = reading.status === 'ok' ? reading.header : undefined
  if (onlyIf !== undefined && !onlyIf(header)) return undefined
  try {
    // the real size: a file may be shorter than its header says
    const bytes = reading.status === 'ok' && reading.bytes < FIRST_READ ? reading.bytes : (await fs.promises.stat(path)).size
    await fs.promises.unlink(path)
    return { bytes, header }
  } catch (error) {
    if (isMissing(error)) return undefined
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
    const start = (await readFile(path, 'head', NO_OPTIONS)).subarray(0, FRAME_MAGIC.length)
    if (!start.equals(FRAME_MAGIC.subarray(0, start.length))) return 0
    await fs.promises.unlink(path)
    return size
  } catch {
    return 0 // gone meanwhile, or not to be removed: the next sweep tries again
  }
}

/** Beyond this (2100-01-01) file systems differ in what they can store; the header has the real instant. */
const LATEST_FILE_TIME = 4_102_444_800

/** The modification time, in seconds, that stands for the end of an entry's life. */
export function fileTimeOf(keepUntil: EpochMs): number {
  return keepUntil === Number.POSITIVE_INFINITY ? 0 : Math.min(keepUntil / 1000, LATEST_FILE_TIME)
}

/** The end of an entry's life by its file's modification time. */
export function keepUntilOf(mtimeMs: number): EpochMs {
  return mtimeMs <= 0 || mtimeMs >= LATEST_FILE_TIME * 1000 ? Number.POSITIVE_INFINITY : Math.round(mtimeMs)
}

/** A payload that is a small part of the read buffer gets memory of its own. */
function ownMemory(payload: Buffer): Buffer {
  if (payload.byteLength * 2 >= payload.buffer.byteLength) return payload
  const own = Buffer.allocUnsafeSlow(payload.byteLength)
  payload.copy(own)
  return own
}
