import type { IncomingMessage } from 'node:http'
import { SILENCE_MS } from './transport.js'

/** Up to here what is not wanted is read to its end, which keeps the connection; above, the connection is ended. */
const CHEAP_BYTES = 64 * 1024

/** The connection ended before the body did. */
export class CutOff extends Error {
  readonly code = 'ECONNRESET'
}

/** Reader a body into memory of its own. Rejects with {@link CutOff} when it is not whole. */
export function collect(response: IncomingMessage, progress: (() => void) | undefined): Promise<Buffer> {
  const length = lengthOf(response)
  return length === undefined ? collectUnknown(response, progress) : collectKnown(response, length, progress)
}

function collectKnown(response: IncomingMessage, length: number, progress: (() => void) | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.allocUnsafeSlow(length) // not from the pool: it may be kept for long
    let at = 0
    response.on('data', (chunk: Buffer) => {
      at += chunk.copy(bytes, at)
      progress?.()
    })
    whenRead(response, () => (at === length ? resolve(bytes) : reject(new CutOff(`${at} of ${length} bytes arrived`))), reject)
  })
}

function collectUnknown(response: IncomingMessage, progress: (() => void) | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      progress?.()
    })
    whenRead(response, () => resolve(Buffer.concat(chunks)), reject)
  })
}

function whenRead(response: IncomingMessage, done: () => void, failed: (error: Error) => void): void {
  response.once('end', () => (response.complete ? done() : failed(new CutOff('the answer ended early'))))
  response.once('error', failed)
  response.once('close', () => failed(new CutOff('the connection ended in the middle of the answer')))
}

/** The body's chunks as they arrive. Leaving early ends the connection. Throws {@link CutOff}, or what the connection failed with. */
export async function* chunksOf(response: IncomingMessage, progress: (() => void) | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  try {
    for (;;) {
      awaitBody(response, true)
      const step = await iterator.next()
      if (step.done === true) break
      awaitBody(response, false)
      progress?.()
      yield step.value
    }
    if (!response.complete) throw new CutOff('the answer ended early')
  } finally {
    drop(response)
  }
}

/** Whether silence is the server's fault while a body is read: not while the reader is busy. After its end the connection may be another request's. */
export function awaitBody(response: IncomingMessage, isWaiting: boolean): void {
  if (!response.readableEnded) response.socket.setTimeout(isWaiting ? SILENCE_MS : 0)
}

/** Gives up a body that is not wanted, so that its connection is free. */
export function drop(response: IncomingMessage): void {
  if (response.readableEnded || response.destroyed) return
  const length = lengthOf(response)
  if (length !== undefined && length <= CHEAP_BYTES && !response.readableDidRead) response.resume()
  else response.destroy()
}

/** Reader a body as text; empty when it cannot be read. */
export async function textOf(response: IncomingMessage): Promise<string> {
  try {
    return (await collect(response, undefined)).toString('utf8')
  } catch {
    return ''
  }
}

/** Of the body, as the server announces it. */
export function lengthOf(response: IncomingMessage): number | undefined {
  const { 'content-length': length } = response.headers
  return length === undefined ? undefined : Number(length)
}
