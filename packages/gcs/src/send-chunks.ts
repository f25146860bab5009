import type { IncomingMessage } from 'node:http'
import type { OperationOptions } from '@thermocline/backend'
import { unlessAborted } from './aborts.js'
import { CutOff, drop } from './body.js'
import { accept } from './object-api.js'
import type { Exchange } from './transport.js'

/** What an object is to be, but for its payload. */
export interface UploadTarget {
  readonly name: string
  readonly contentType: string
  /** As the JSON API has it. */
  readonly resource: object
}

/** Sends chunks as fast as the connection takes them, until their end or until the server has answered. Returns how many bytes there were. */
export async function sendChunks(exchange: Exchange, chunks: AsyncIterator<Uint8Array>, { signal, progress }: OperationOptions, onChunk?: (chunk: Uint8Array) => void): Promise<number> {
  let bytes = 0
  exchange.awaitServer(false)
  while (!exchange.isOver) {
    const step = await unlessAborted(chunks.next(), signal)
    if (step.done === true) break
    bytes += step.value.byteLength
    onChunk?.(step.value)
    await exchange.write(step.value)
    progress?.()
  }
  return bytes
}

/** Sends the end of a body and returns the answer, if it is no refusal. */
export async function finishUpload(exchange: Exchange, end: readonly Uint8Array[] = []): Promise<IncomingMessage> {
  const isEarly = exchange.isOver
  if (!isEarly) exchange.finish(end)
  const response = await accept(await exchange.answer)
  if (!isEarly) return response
  drop(response)
  throw new CutOff('the server was content before it had everything')
}
