import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { atEndOfFile } from '../../../../test/support/servers/end-of-file.js'

/** A request on its way to the store. */
export interface Passing {
  readonly method: string
  /** Of the object, without the bucket; empty for requests about the bucket. */
  readonly name: string
  readonly query: URLSearchParams
  readonly headers: http.IncomingHttpHeaders
  /** All of it: the request waits for this before it goes on. */
  body(): Promise<Buffer>
}

/** What comes back instead of the store's answer. */
export interface Answer {
  readonly status: number
  /** Of an error: makes the body, except for a HEAD. */
  readonly code?: string
  readonly message?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** What happens to a request: an answer of somebody else's, a change of the store's answer, or nothing (`undefined`), perhaps after something was done. */
export type Meddling = (request: Passing) => Answer | { readonly change: (headers: http.IncomingHttpHeaders) => void } | undefined | Promise<Answer | undefined | { readonly change: (headers: http.IncomingHttpHeaders) => void }>

/**
 * Stands before a real store and passes requests on, but for those that a test wants otherwise: errors that the store at hand does not
 * make, features that it does not have, objects that change between two requests.
 */
export class Meddler {
  /** Method and name of each request, in order, with what in the query tells requests apart: `PUT a/b uploads`. */
  readonly seen: string[] = []
  meddle: Meddling | undefined
  readonly #server: http.Server
  readonly #agent = new http.Agent({ keepAlive: true })

  private constructor(target: string) {
    const { hostname, port } = new URL(target)
    this.#server = http.createServer((request, response) => {
      void this.#pass(request, response, { hostname, port: Number(port) }).catch(() => response.destroy())
    })
    atEndOfFile(() => this.close())
  }

  static async start(target: string): Promise<Meddler> {
    const meddler = new Meddler(target)
    await new Promise<void>((resolve) => meddler.#server.listen(0, '127.0.0.1', resolve))
    return meddler
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Passes everything on, and has seen nothing. */
  reset(): void {
    this.meddle = undefined
    this.seen.length = 0
  }

  /** The requests that `work` makes. */
  async requestsOf(work: () => Promise<unknown>): Promise<string[]> {
    const before = this.seen.length
    await work()
    return this.seen.slice(before)
  }

  async close(): Promise<void> {
    this.#agent.destroy()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #pass(request: http.IncomingMessage, response: http.ServerResponse, target: { readonly hostname: string; readonly port: number }): Promise<void> {
    const { method = 'GET', url = '/', headers } = request
    const { pathname, searchParams } = new URL(url, 'http://store')
    const name = decodeURIComponent(pathname.split('/').slice(2).join('/'))
    const about = ['uploads', 'partNumber', 'list-type', 'delete', 'lifecycle'].find((word) => searchParams.has(word)) ?? (searchParams.has('uploadId') ? 'uploadId' : undefined)
    this.seen.push([method, name, about].filter((part) => part !== undefined && part !== '').join(' '))
    let collected: Promise<Buffer> | undefined
    const passing = { method, name, query: searchParams, headers, body: () => (collected ??= buffer(request)) }
    const outcome = await this.meddle?.(passing)
    if (outcome !== undefined && 'status' in outcome) {
      request.resume()
      return answer(response, method, outcome)
    }
    const body = collected === undefined ? undefined : await collected
    const forwarded = http.request({ ...target, method, path: url, headers, agent: this.#agent }, (from) => {
      const given = { ...from.headers }
      outcome?.change(given)
      response.writeHead(from.statusCode ?? 500, given)
      from.on('error', () => response.destroy())
      from.pipe(response)
    })
    forwarded.on('error', () => response.destroy())
    response.on('close', () => forwarded.destroy())
    if (body === undefined) request.pipe(forwarded)
    else forwarded.end(body)
  }
}

function answer(response: http.ServerResponse, method: string, { status, code, message = 'said the test', headers = {}, body }: Answer): void {
  const text = body ?? (code === undefined ? '' : `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>1</RequestId></Error>`)
  response.writeHead(status, { 'content-type': 'application/xml', ...(method === 'HEAD' ? {} : { 'content-length': Buffer.byteLength(text) }), ...headers })
  response.end(method === 'HEAD' ? undefined : text)
}
