/*
 * The ways to a bucket that the GCS cases compare.
 */
import { inParallel } from '../lib/in-parallel.mjs'
import { adapterOver, cacheOver } from './bucket-contenders.mjs'

/** Requests that remove objects, at once: as many as our backend has. */
const REMOVALS_AT_ONCE = 32

/** Google's client by hand, without its own checksums, attempts and fields that nobody wants: the fastest it can be. */
export async function rawGcs({ store }) {
  const { Storage } = await import('@google-cloud/storage')
  const bucket = new Storage({ ...store.config, retryOptions: { autoRetry: false } }).bucket(store.bucket)
  /** With `fields` the client gives the resources as they came. */
  async function* pages(prefix) {
    let next = {}
    do {
      const [resources, following] = await bucket.getFiles({ ...next, prefix, autoPaginate: false, fields: 'nextPageToken,items(name,size)' })
      yield resources
      next = following
    } while (next)
  }
  const as = { validation: false, decompress: false }
  return {
    open: (key) => bucket.file(key).createReadStream(as),
    get: async (key) => (await bucket.file(key).download(as))[0],
    set: (key, value) => bucket.file(key).save(value, { resumable: false, validation: false }),
    async list(prefix) {
      const all = []
      for await (const page of pages(prefix)) for (const { name, size } of page) all.push({ key: name, size: Number(size) })
      return all
    },
    async clear(prefix) {
      for await (const page of pages(prefix)) await inParallel(REMOVALS_AT_ONCE, page.length, (n) => bucket.file(page[n].name).delete())
    },
    close: () => undefined,
  }
}

/** The backend as an application makes it, but for where the store is. */
export async function gcsBackend({ store }) {
  const { GcsBackend } = await import('@thermocline/gcs')
  return new GcsBackend({ bucket: store.bucket, apiEndpoint: store.config.apiEndpoint })
}

export const thermocline = cacheOver(gcsBackend)
export const adapterAlone = adapterOver(gcsBackend)
