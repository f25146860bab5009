import fs from 'node:fs'
import { decodeFrameHeader, readFrameHead, type FrameContent, type FrameHeader } from '@thermocline/backend'
import { FIRST_READ } from '../file-io.js'

/** What the beginning and the size of a file tell; `cut`: it breaks off before its end, as a write does that was under way in a crash. */
export type HeadReading = { readonly status: 'ok'; readonly header: FrameHeader } | { readonly status: 'cut' } | { readonly status: 'damaged'; readonly reason: string }

/** Reads the head of a frame's file, at once. Throws the file system's error when it cannot be read. */
export function readHeadNow(file: string): HeadReading {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0)) // somebody's pipe under its name must not hold the process
  try {
    const stats = fs.fstatSync(fd)
    if (!stats.isFile()) return { status: 'damaged', reason: 'it is no file' }
    const { size } = stats
    const bytes = readStart(fd, FIRST_READ)
    const short = decodeFrameHeader(bytes)
    if (short.status === 'short' && short.needed > size) return { status: 'cut' }
    const head: FrameContent | undefined = short.status === 'short' ? readFrameHead(readStart(fd, short.needed), short.needed) : decided(short)
    if (head?.status !== 'ok') return { status: 'damaged', reason: head?.reason ?? 'its header is incomplete' }
    const whole = head.header.payloadOffset + head.header.payloadBytes
    if (size < whole) return { status: 'cut' }
    return size === whole ? { status: 'ok', header: head.header } : { status: 'damaged', reason: `it does not have the ${whole} bytes that its header claims` }
  } finally {
    fs.closeSync(fd)
  }
}

function decided(reading: Exclude<ReturnType<typeof decodeFrameHeader>, { status: 'short' }>): FrameContent {
  return reading.status === 'ok' ? { status: 'ok', header: reading.value, payload: undefined } : reading
}

function readStart(fd: number, most: number): Buffer {
  const bytes = Buffer.allocUnsafe(most)
  return bytes.subarray(0, fs.readSync(fd, bytes, 0, most, 0))
}
