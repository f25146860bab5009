import { Readable } from 'node:stream'
import type { PutObjectCommandInput } from '@aws-sdk/client-s3'
import { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'

/**
 * Puts an object whose length is known while its payload comes. The request is ended when the payload fails, which the SDK would not
 * do, and when the store has answered before it has taken everything: its connection would stay in use.
 *
 * @throws what the payload throws, or what the SDK does
 */
export async function sendStream({ sdk, client }: Opened, input: Omit<PutObjectCommandInput, 'Body'>, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<void> {
  const cancellation = new Cancellation(signal)
  const body = Readable.from(chunks, { objectMode: false })
  let failure: { readonly error: unknown } | undefined
  body.on('error', (error) => {
    failure ??= { error }
    cancellation.cancel(error)
  })
  try {
    await client.send(new sdk.PutObjectCommand({ ...input, Body: body }), cancellation)
  } catch (error) {
    throw failure === undefined ? error : failure.error
  } finally {
    body.destroy()
    cancellation.end()
  }
}
