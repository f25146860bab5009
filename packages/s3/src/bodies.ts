import type { Readable } from 'node:stream'
import type { Socket } from 'node:net'
import { CacheError } from '@thermocline/backend'
import type { Place } from '@thermocline/object-store'
import { asS3Error } from './errors.js'

/** As much is read to its end rather than given up: the connection then can be used again. */
const DRAINED_BYTES = 64 * 1024
/** Milliseconds: how long a consumer may take over one chunk before the connection counts as forgotten. */
const CONSUMER_PATIENCE_MS = 600_000

/** A response that nobody wants: its connection is free at once. */
export function discard(body: Readable | undefined, length: number | undefined): void {
  if (body === undefined) return
  body.on('error', ignore)
  if (length !== undefined && length <= DRAINED_BYTES) body.resume()
  else body.destroy()
}

/**
 * Reads a response into memory of its own.
 *
 * @param length what the response announced
 * @throws CacheError `unavailable` when the connection ends before
 */
export function collect(body: Readable, length: number | undefined, progress: (() => void) | undefined, place: Place): Promise<Buffer> {
  return length === undefined ? collectUnannounced(body, progress, place) : collectAnnounced(body, length, progress, place)
}

function collectAnnounced(body: Readable, length: number, progress: (() => void) | undefined, place: Place): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    const cut = (error?: unknown): void => reject(cutOff(error, at, length, place))
    body.on('data', (chunk: Uint8Array) => {
      if (at + chunk.byteLength > length) return void body.destroy() // never from an HTTP connection
      bytes.set(chunk, at)
      at += chunk.byteLength
      progress?.()
    })
    let isWhole = false
    body.on('end', () => {
      isWhole = at === length
      if (isWhole) resolve(bytes)
    })
    body.on('error', cut)
    body.on('close', () => {
      if (!isWhole) cut() // after an error it changes nothing
    })
  })
}

async function collectUnannounced(body: Readable, progress: (() => void) | undefined, place: Place): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of received(body, undefined, progress, place)) chunks.push(chunk)
  const all = Buffer.concat(chunks)
  const own = Buffer.allocUnsafeSlow(all.byteLength)
  own.set(all)
  return own
}

/**
 * A response as it arrives. A consumer may take its time over a chunk: the limit for an idle connection holds only while something is
 * waited for.
 *
 * @throws CacheError `unavailable` when the connection ends before the announced length
 */
export async function* received(body: Readable, length: number | undefined, progress: (() => void) | undefined, place: Place): AsyncGenerator<Uint8Array, void, undefined> {
  const socket = (body as { readonly socket?: Socket | null }).socket ?? undefined
  const idleMs = socket?.timeout ?? 0
  let seen = 0
  const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  try {
    for (;;) {
      const step = await iterator.next().catch((error: unknown) => Promise.reject(cutOff(error, seen, length, place)))
      if (step.done === true) break
      seen += step.value.byteLength
      progress?.()
      if (idleMs > 0) socket?.setTimeout(CONSUMER_PATIENCE_MS)
      yield step.value
      if (idleMs > 0) socket?.setTimeout(idleMs)
    }
  } finally {
    if (idleMs > 0) socket?.setTimeout(idleMs)
    body.destroy() // after its end this leaves the connection alone
  }
  if (length !== undefined && seen !== length) throw cutOff(undefined, seen, length, place)
}

function cutOff(error: unknown, seen: number, length: number | undefined, place: Place): CacheError {
  const known = error === undefined ? undefined : asS3Error(error, place)
  if (known !== undefined && known.code !== 'failed' && known.code !== 'unavailable') return known
  const of = length === undefined ? '' : ` of ${length}`
  return new CacheError('unavailable', `${place.operation} on s3 failed: the connection ended after ${seen}${of} bytes`, { ...place, backend: 's3', retryable: true, cause: error })
}

function ignore(): void {
  // it was not wanted
}
