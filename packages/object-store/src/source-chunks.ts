import { asCacheError, CacheError, checkedChunks, type CacheErrorOptions, type PayloadStream } from '@thermocline/backend'

/**
 * The chunks of a payload that is to be stored, checked against what it says of itself (`corrupt`). What its source throws is made a
 * failure of the `put` (`failed`) here, before an adapter looks at codes: a source that reads from a connection fails as the store's own connection would,
 * and the store is not away because of that.
 */
export async function* sourceChunks(payload: PayloadStream, where: CacheErrorOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const damaged = (reason: string): CacheError => new CacheError('corrupt', `${where.operation} on ${where.backend} was given a stream that is not what it says: ${reason}`, where)
  try {
    yield* checkedChunks(payload.chunks(), payload, damaged)
  } catch (error) {
    throw asCacheError(error, where)
  }
}
