import { CacheError, isPromise, type ClearOptions, type OperationOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { Place } from '@thermocline/object-store'
import { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'
import { abandoned, codeOfDeletion, isNotFound, isRetryable } from './errors.js'
import { inParallel } from './parallel.js'
import type { Listing } from './listing.js'
import type { Reads } from './reads.js'
import type { Shared } from './shared.js'

/** What one DeleteObjects takes. */
const MOST_NAMES = 1000
const BATCHES_AT_ONCE = 4

/** How a batch went. */
interface Removal {
  readonly asked: number
  readonly failed: number
  /** The first failure. */
  readonly code: string | undefined
  readonly message: string | undefined
}

/** Removes entries, a thousand with one request. S3 does not say what was there, so nothing is counted. */
export class Removals {
  readonly #shared: Shared
  readonly #reads: Reads
  readonly #listing: Listing

  constructor(shared: Shared, reads: Reads, listing: Listing) {
    this.#shared = shared
    this.#reads = reads
    this.#listing = listing
  }

  /** @param operation who removes: `delete`, or a `put` of what is over */
  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions, operation = 'delete'): Promise<undefined> {
    if (keys.length === 0) return undefined
    const place = { operation, tenant: scope.tenant, key: keys.length === 1 ? keys[0] : undefined }
    const names = [...new Set(keys.map((key) => this.#shared.names.of(scope, key)))]
    const batches = Array.from({ length: Math.ceil(names.length / MOST_NAMES) }, (_, at) => names.slice(at * MOST_NAMES, (at + 1) * MOST_NAMES))
    await this.#working(options, place, async (opened, cancellation) => {
      const removals: Removal[] = []
      for await (const removal of inParallel(batches, BATCHES_AT_ONCE, (batch) => this.#remove(opened, batch, cancellation))) {
        options.progress?.()
        removals.push(removal)
      }
      expectAll(removals, place)
    })
    return undefined
  }

  /** Each page is removed while the next is listed. What others have put among our names goes too. */
  async clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<undefined> {
    const place = { operation: 'clear', tenant: scope.tenant }
    await this.#working(options, place, async (opened, cancellation) => {
      const removals: Removal[] = []
      let removing: Promise<Removal> | undefined
      const settle = async (): Promise<void> => {
        if (removing !== undefined) removals.push(await removing)
        options.progress?.()
      }
      for await (const page of this.#listing.names({ opened, scope, prefix, cancellation, place }, options.only)) {
        await settle()
        removing = page.length === 0 ? undefined : this.#remove(opened, page, cancellation)
        removing?.catch(() => undefined) // told by the next settle, unless the listing fails first
      }
      await settle()
      expectAll(removals, place)
    })
    return undefined
  }

  async #working(options: OperationOptions, place: Place, work: (opened: Opened, cancellation: Cancellation) => Promise<void>): Promise<void> {
    const opening = this.#shared.connection.open(place.operation)
    const opened = isPromise(opening) ? await opening : opening
    const cancellation = new Cancellation(options.signal)
    try {
      await work(opened, cancellation)
      this.#reads.refusals.noteBucket()
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      throw this.#reads.refusals.failed(error, place)
    } finally {
      cancellation.end()
    }
  }

  async #remove({ sdk, client }: Opened, names: readonly string[], cancellation: Cancellation): Promise<Removal> {
    const { bucket } = this.#shared
    if (names.length === 1) {
      try {
        await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: names[0] }), cancellation)
      } catch (error) {
        if (!isNotFound(error)) throw error
      }
      return { asked: 1, failed: 0, code: undefined, message: undefined }
    }
    const { Errors = [] } = await client.send(new sdk.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: names.map((Key) => ({ Key })), Quiet: true } }), cancellation)
    const failures = Errors.filter(({ Code }) => Code !== 'NoSuchKey')
    return { asked: names.length, failed: failures.length, code: failures[0]?.Code, message: failures[0]?.Message }
  }
}

function expectAll(removals: readonly Removal[], { operation, tenant, key }: Place): void {
  const failed = removals.reduce((sum, removal) => sum + removal.failed, 0)
  if (failed === 0) return
  const asked = removals.reduce((sum, removal) => sum + removal.asked, 0)
  const first = removals.find((removal) => removal.failed > 0)
  const said = first?.code ?? 'no code'
  const code = codeOfDeletion(said)
  const advice = code === 'access-denied' ? ' (grant s3:DeleteObject)' : ''
  throw new CacheError(code, `${operation} on s3 failed for ${failed} of ${asked} objects, the first with ${said}: ${first?.message ?? 'no message'}${advice}`, {
    operation,
    backend: 's3',
    tenant,
    key,
    retryable: isRetryable(code),
  })
}
