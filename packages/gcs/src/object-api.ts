import type { IncomingMessage } from 'node:http'
import { collect, drop, textOf } from './body.js'
import { isBucketMissing, Refusal } from './errors.js'
import { factsOfResource, RESOURCE_FIELDS, type ObjectFacts, type Resource } from './facts.js'
import type { Exchange, RequestHead, Transport } from './transport.js'

/** A page of a listing. */
export interface Page {
  readonly items?: readonly Resource[]
  readonly nextPageToken?: string
}

export type Query = Readonly<Record<string, string | undefined>>

/** The requests a bucket takes. Every refusal rejects with a {@link Refusal}, but that an object is not there is `undefined` or `false`. */
export class ObjectApi {
  readonly #transport: Transport
  readonly #bucket: string

  constructor(transport: Transport, bucket: string) {
    this.#transport = transport
    this.#bucket = encodeURIComponent(bucket)
  }

  /**
   * Payload and metadata in one request: of the two APIs only XML has both.
   *
   * Gzip is accepted, or the service would unpack what is stored with `Content-Encoding: gzip`.
   */
  async download(name: string, signal: AbortSignal | undefined): Promise<IncomingMessage | undefined> {
    const path = `/${this.#bucket}/${name.split('/').map(encodeURIComponent).join('/')}`
    return this.#unlessMissing({ method: 'GET', path, headers: { 'accept-encoding': 'gzip' }, signal })
  }

  /** What is known of an object, without its payload. */
  async look(name: string, signal: AbortSignal | undefined): Promise<ObjectFacts | undefined> {
    const response = await this.#unlessMissing({ method: 'GET', path: `${this.#object(name)}?fields=${encodeURIComponent(RESOURCE_FIELDS)}`, signal })
    return response === undefined ? undefined : factsOfResource(await json<Resource>(response))
  }

  /** @returns whether it was there, and of that generation where one is named */
  async remove(name: string, generation: string | undefined, signal: AbortSignal | undefined): Promise<boolean> {
    const path = this.#object(name) + queryOf({ ifGenerationMatch: generation })
    const response = await this.#unlessMissing({ method: 'DELETE', path, signal })
    if (response === undefined) return false
    drop(response)
    return true
  }

  async list(query: Query, signal: AbortSignal | undefined): Promise<Page> {
    return json(await this.#accepted({ method: 'GET', path: `/storage/v1/b/${this.#bucket}/o${queryOf(query)}`, signal }))
  }

  /** Begins an upload by one request. `length` is that of the whole body; `undefined`: in chunks. */
  beginUpload(query: Query, headers: Readonly<Record<string, string>>, length: number | undefined, signal: AbortSignal | undefined): Promise<Exchange> {
    return this.#transport.open({ method: 'POST', path: `/upload/storage/v1/b/${this.#bucket}/o${queryOf(query)}`, headers, signal }, length)
  }

  /** A body of several parts that is all there. */
  async upload(query: Query, headers: Readonly<Record<string, string>>, body: readonly Uint8Array[], signal: AbortSignal | undefined): Promise<IncomingMessage> {
    return accept(await this.#transport.send({ method: 'POST', path: `/upload/storage/v1/b/${this.#bucket}/o${queryOf(query)}`, headers, signal }, body))
  }

  /** A request to a resumable upload's own address. */
  session(path: string, head: Pick<RequestHead, 'method' | 'headers' | 'signal'>, length: number | undefined): Promise<Exchange> {
    return this.#transport.open({ path, ...head }, length)
  }

  async bucket<T>(fields: string, signal: AbortSignal | undefined): Promise<T> {
    return json(await this.#accepted({ method: 'GET', path: `/storage/v1/b/${this.#bucket}${queryOf({ fields })}`, signal }))
  }

  async changeBucket(change: object, query: Query, signal: AbortSignal | undefined): Promise<void> {
    const body = Buffer.from(JSON.stringify(change))
    const head = { method: 'PATCH', path: `/storage/v1/b/${this.#bucket}${queryOf(query)}`, headers: { 'content-type': 'application/json' }, signal } as const
    drop(await accept(await this.#transport.send(head, [body])))
  }

  #object(name: string): string {
    return `/storage/v1/b/${this.#bucket}/o/${encodeURIComponent(name)}`
  }

  async #accepted(head: RequestHead): Promise<IncomingMessage> {
    return accept(await this.#transport.send(head))
  }

  async #unlessMissing(head: RequestHead): Promise<IncomingMessage | undefined> {
    const response = await this.#transport.send(head)
    if (response.statusCode !== 404) return accept(response)
    const refusal = Refusal.of(404, await textOf(response))
    if (isBucketMissing(refusal)) throw refusal
    return undefined
  }
}

/** The answer, if it is not a refusal. */
export async function accept(response: IncomingMessage): Promise<IncomingMessage> {
  const { statusCode = 0 } = response
  if (statusCode >= 200 && statusCode < 300) return response
  throw Refusal.of(statusCode, await textOf(response))
}

export async function json<T>(response: IncomingMessage): Promise<T> {
  const text = (await collect(response, undefined)).toString('utf8')
  try {
    return JSON.parse(text) as T
  } catch {
    throw new Refusal(response.statusCode ?? 0, '', `the answer is no JSON: ${text.slice(0, 80)}`)
  }
}

function queryOf(query: Query): string {
  const parts = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]))
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}
