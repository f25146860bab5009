import { CacheError, entryOfFrame, isCacheError, StreamedEntry, type CacheEntry, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { sharedDisk } from './disk.js'
import { readEntryFile, type FileReading } from './entry-file.js'
import { isDamaged, openEntryStream, type StreamReading } from './entry-stream.js'
import { ACCESS_ADVICE, isOutOfFiles } from './errors.js'
import type { Reading } from './file-io.js'
import { earlierFile } from './layout.js'
import { failureAt } from './reach.js'
import { removeEntry } from './removal.js'
import type { Store } from './store.js'

type Unusable = { readonly status: 'foreign' | 'corrupt' | 'too-large'; readonly reason: string }

const OF_ANOTHER = { status: 'foreign', reason: 'it belongs to another tenant or key' } as const

/** Reads entries' files, whole or as streams, and sees to what is in their place without being one. */
export class EntryReader {
  readonly #store: Store
  readonly #how: Reading

  constructor(store: Store) {
    this.#store = store
    this.#how = { close: store.descriptors.close, maxBytes: store.maxBufferedBytes }
  }

  // not `async`: a second promise for every read
  read(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return options.want === 'stream' ? this.#open(file, scope, key, options) : this.#readWhole(file, scope, key, options)
  }

  async #readWhole(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const want = options.want === 'head' ? 'head' : 'payload'
    const { turns } = sharedDisk()
    let reading: FileReading
    let place = file
    if (!turns.tryTake()) await turns.wait(options)
    try {
      reading = await readEntryFile(file, want, options, this.#how)
      if (reading.status === 'missing') {
        const earlier = earlierFile(this.#store.layout, scope, key)
        if (earlier === undefined) return undefined
        reading = await readEntryFile((place = earlier), want, options, this.#how)
      }
    } catch (error) {
      return await this.#missUnlessWhole(error, place, scope, key)
    } finally {
      turns.done()
    }
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#treatAsMiss(place, scope, key, reading)
    const { header, payload } = reading
    if (header.tenant !== scope.tenant || header.key !== key) return this.#treatAsMiss(place, scope, key, OF_ANOTHER)
    if (options.touch && this.#store.space !== undefined) this.#store.recency.used(place)
    return entryOfFrame(header, payload)
  }

  async #open(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<StreamedEntry | undefined> {
    let reading: StreamReading
    let place = file
    const open = (): Promise<StreamReading> =>
      openEntryStream(place, this.#store.descriptors.close, (error) => this.#dropDamaged(place, key, error), { keepsName: true, options })
    try {
      reading = await sharedDisk().turns.during(options, async () => {
        const first = await open()
        const earlier = first.status === 'missing' ? earlierFile(this.#store.layout, scope, key) : undefined
        if (earlier === undefined) return first
        place = earlier
        return open()
      })
    } catch (error) {
      return this.#missUnlessWhole(error, place, scope, key)
    }
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#treatAsMiss(place, scope, key, reading)
    const { header, payload } = reading
    if (header.tenant !== scope.tenant || header.key !== key) {
      payload.cancel()
      return this.#treatAsMiss(place, scope, key, OF_ANOTHER)
    }
    if (options.touch && this.#store.space !== undefined) this.#store.recency.used(place)
    return new StreamedEntry(payload, header)
  }

  /** A file that cannot be read, while others can, is a miss. @throws CacheError when the disk fails, or for a while only */
  async #missUnlessWhole(thrown: unknown, file: string, scope: TenantScope, key: ValidKey): Promise<undefined> {
    const error = await failureAt(this.#store.layout, thrown, 'get', key)
    if (isCacheError(thrown) || error.concerns === 'tier' || error.retryable || isOutOfFiles(thrown)) throw error
    const advice = error.code === 'access-denied' ? ACCESS_ADVICE : ''
    const about = { operation: 'get', backend: 'fs', tenant: scope.tenant, key, concerns: 'key', cause: thrown } as const
    this.#store.hosts.reportOnce(file, new CacheError(error.code, `an entry's file is a miss because it cannot be read${advice}: ${file}`, about))
  }

  /** Reports what cannot be served; our own damaged file goes, everything else stays. */
  async #treatAsMiss(file: string, scope: TenantScope, key: ValidKey, { status, reason }: Unusable): Promise<undefined> {
    const left = status === 'corrupt' ? 'it was removed' : 'it was left in place'
    const about = { operation: 'get', backend: 'fs', tenant: scope.tenant, key, concerns: 'key' } as const
    const error = new CacheError(status, `an entry's file is a miss because ${reason}; ${left}${status === 'too-large' ? ' (read it as a stream, or raise maxBufferedBytes)' : ''}: ${file}`, about)
    if (status === 'corrupt') await this.#dropDamaged(file, key, error)
    else if (status === 'foreign') this.#store.hosts.report(error)
    else this.#store.hosts.reportOnce(file, error)
  }

  /** Looks once more before removing: a good file may have been written over the damaged one meanwhile. */
  async #dropDamaged(file: string, key: ValidKey, error: CacheError): Promise<void> {
    const { descriptors, hosts } = this.#store
    try {
      if (await isDamaged(file, descriptors.close)) await removeEntry(this.#store, file, 'get', key, { yields: true })
    } catch {
      // it stays a miss, and the next reader tries again
    }
    hosts.report(error)
  }
}
