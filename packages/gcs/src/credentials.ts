import type { StorageOptions } from '@google-cloud/storage'
import { unlessAborted } from './aborts.js'
import type { CheckedOptions, GcsClient } from './options.js'

/** What a request says about who sends it. */
export class Credentials {
  readonly #options: CheckedOptions
  #client: Promise<GcsClient> | undefined

  constructor(options: CheckedOptions) {
    this.#options = options
  }

  /** Finding credentials may take requests of its own; that is part of the operation they are for, and given up with it. */
  async headers(signal: AbortSignal | undefined): Promise<Readonly<Record<string, string>>> {
    const headers = await unlessAborted(this.#look(), signal)
    // 7.x answers with a plain object, 8.x with Headers
    return typeof (headers as Partial<Headers>).entries === 'function' ? Object.fromEntries((headers as Headers).entries()) : { ...(headers as Record<string, string>) }
  }

  async #look(): Promise<object> {
    const client = this.#options.client ?? (await this.#own())
    return client.authClient.getRequestHeaders(this.#options.endpoint.href)
  }

  /** Loaded when first needed: the Google client takes a sixth of a second, and an emulator needs no credentials. */
  #own(): Promise<GcsClient> {
    const options: StorageOptions = { ...this.#options.account, apiEndpoint: this.#options.endpoint.origin }
    this.#client ??= import('@google-cloud/storage').then(({ Storage }) => new Storage(options))
    return this.#client
  }
}
