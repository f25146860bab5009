import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3'
import { isPromise, keyInMetadata, Paged, type ListOptions, type StoredEntryInfo, type TenantScope, type ValidKey } from '@thermocline/core'
import { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'
import { abandoned, type Place } from './errors.js'
import { inParallel } from './parallel.js'
import type { Reads } from './reads.js'
import type { Shared } from './shared.js'

/** HEADs at once. */
export const HEADS_AT_ONCE = 16
/** S3's names have at most so many bytes; no longer prefix is that of any. */
const MAX_NAME_BYTES = 1024

/** An object as a listing shows it. */
export interface Listed {
  readonly name: string
  readonly size: number | undefined
}

/** An object of which the key is known. */
interface Named extends Listed {
  readonly key: string
}

/** Lists entries: a request for each thousand, and a HEAD for each whose end is wanted or whose key is not in its name. */
export class Listing {
  readonly #shared: Shared
  readonly #reads: Reads

  constructor(shared: Shared, reads: Reads) {
    this.#shared = shared
    this.#reads = reads
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): Paged<StoredEntryInfo> {
    return new Paged(() => this.#list(scope, prefix, options))
  }

  async *#list(scope: TenantScope, prefix: string, options: ListOptions): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
    const place = { operation: 'list', tenant: scope.tenant }
    const opening = this.#shared.connection.open('list')
    const opened = isPromise(opening) ? await opening : opening
    const cancellation = new Cancellation(options.signal)
    try {
      for await (const page of this.named(opened, scope, prefix, cancellation, place)) {
        options.progress?.()
        if (options.detail === 'keys') yield page.map(({ key, size }) => ({ key, size }))
        else yield* this.#infos(opened, scope, page, cancellation, options, place)
      }
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      throw this.#reads.refusals.failed(error, place)
    } finally {
      cancellation.end()
    }
  }

  /** Pages of the tenant's objects whose keys begin with a prefix. */
  async *named(opened: Opened, scope: TenantScope, prefix: string, cancellation: Cancellation, place: Place): AsyncGenerator<readonly Named[], void, undefined> {
    // those with hashed names are few or none: asked for at once, they take no time of their own
    const listings = this.#shared.names.under(scope, prefix).flatMap((under) => (under === undefined || Buffer.byteLength(under) > MAX_NAME_BYTES ? [] : [this.pages(opened, under, cancellation)]))
    const firsts = listings.map((pages) => pages.next())
    for (const first of firsts) first.catch(() => undefined) // told when its turn comes, if it does
    try {
      for (const [at, pages] of listings.entries()) {
        for (let step = await firsts[at]; step?.done === false; step = await pages.next()) yield await this.#withKeys(opened, scope, prefix, step.value, cancellation, place)
      }
    } finally {
      for (const pages of listings) void pages.return()
    }
  }

  /** Pages of all objects whose names begin so. The next page is asked for while one is being used. */
  async *pages({ sdk, client }: Opened, under: string, cancellation: Cancellation): AsyncGenerator<readonly Listed[], void, undefined> {
    const ask = (token: string | undefined): Promise<ListObjectsV2CommandOutput> => {
      const asking = client.send(new sdk.ListObjectsV2Command({ Bucket: this.#shared.bucket, Prefix: under, ContinuationToken: token }), cancellation)
      asking.catch(() => undefined) // told when its turn comes, if it does
      return asking
    }
    for (let asking: Promise<ListObjectsV2CommandOutput> | undefined = ask(undefined); asking !== undefined; ) {
      const { Contents = [], IsTruncated, NextContinuationToken }: ListObjectsV2CommandOutput = await asking
      asking = IsTruncated === true && NextContinuationToken !== undefined ? ask(NextContinuationToken) : undefined
      this.#reads.refusals.noteBucket()
      const page: Listed[] = []
      for (const { Key, Size } of Contents) if (Key !== undefined) page.push({ name: Key, size: Size })
      yield page
    }
  }

  async #withKeys(opened: Opened, scope: TenantScope, prefix: string, page: readonly Listed[], cancellation: Cancellation, place: Place): Promise<readonly Named[]> {
    const { names } = this.#shared
    const named: Named[] = []
    const unnamed: Listed[] = []
    for (const object of page) {
      const key = names.keyOf(scope, object.name)
      if (key === undefined) {
        if (names.isHashed(scope, object.name)) unnamed.push(object)
      } else if (key.startsWith(prefix)) named.push({ key, size: object.size, name: object.name })
    }
    const found = inParallel(unnamed, HEADS_AT_ONCE, async (object) => ({ object, found: await this.#reads.look(opened, object.name, cancellation, place) }))
    for await (const { object, found: head } of found) {
      const key = keyInMetadata(head?.Metadata)
      if (key?.startsWith(prefix) === true) named.push({ ...object, key })
    }
    return named
  }

  async *#infos(opened: Opened, scope: TenantScope, page: readonly Named[], cancellation: Cancellation, { adopt, progress }: ListOptions, place: Place): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
    const looked = inParallel(page, HEADS_AT_ONCE, async ({ key, name, size }) => {
      const expiresAt = await this.#reads.endOf(opened, { scope, key: key as ValidKey, name, place }, cancellation, adopt?.(key) === true)
      return { key, size, expiresAt }
    })
    for await (const info of looked) {
      progress?.()
      if (info.expiresAt !== undefined) yield [info]
    }
  }
}
