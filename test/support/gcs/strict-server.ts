import { randomBytes } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { atEndOfFile } from '../servers/end-of-file.js'
import { freePort } from '../servers/ports.js'
import { checkAccess, type Role } from './strict/access.js'
import { serveBuckets } from './strict/buckets.js'
import { type Fault, Faults } from './strict/faults.js'
import { applyLifecycle } from './strict/lifecycle.js'
import { serveObjects } from './strict/objects.js'
import { GcsError, notModelled, type Reply } from './strict/reply.js'
import { partial } from './strict/partial.js'
import { type GcsRequest, type Operation, parseRequest } from './strict/request.js'
import { Sessions } from './strict/sessions.js'
import { Store } from './strict/store.js'
import type { GcsServer, GcsStorageOptions } from './server.js'

export interface Served {
  readonly operation: Operation
  readonly bucket: string
  readonly object: string
  readonly query: URLSearchParams
  readonly headers: http.IncomingHttpHeaders
  /** `undefined` as long as there is none, or when a fault kept it back. */
  status: number | undefined
}

/**
 * A Cloud Storage of the test's own, in this process, that takes the JSON API at its word: what its documentation says is
 * done, what it forbids is refused, and what is not modelled (versioning, ACLs, IAM, compose, the XML API but for "Get Object", batches) answers 501. It was written from the documentation, not compared with the service: what only it shows, only the
 * documentation shows.
 */
export class StrictGcsServer implements GcsServer {
  readonly kind = 'strict'
  readonly port: number
  readonly endpoint: string
  readonly faults = new Faults()
  /** What has been asked, the oldest first. */
  readonly requests: Served[] = []
  /** Who may do what; without it everybody may do everything, without a token. */
  tokens: Readonly<Record<string, Role>> | undefined
  /** Refuses a write of an object so soon after the last one, with 429: 1000 in the service. */
  writeIntervalMs: number | undefined
  /** Whether the bytes of an object come with its custom metadata as headers, which is not documented of this API. */
  sendsCustomMetadata = false
  readonly #store = new Store()
  readonly #sessions = new Sessions(this.#store)
  readonly #server: http.Server

  constructor(port: number) {
    this.port = port
    this.endpoint = `http://127.0.0.1:${port}`
    this.#server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => void this.#serve(request, response))
    atEndOfFile(() => this.stop())
  }

  /** How many resumable uploads have begun and not ended. */
  get openUploads(): number {
    return this.#sessions.open
  }

  /** Resumable uploads that are under way answer 410 from now on. */
  endUploads(): void {
    this.#sessions.breakOff()
  }

  /** Applies the lifecycle rules of all buckets, as at the given time. */
  runLifecycle(at: Date): void {
    applyLifecycle(this.#store, at)
  }

  storageOptions(port = this.port): GcsStorageOptions {
    return { apiEndpoint: `http://127.0.0.1:${port}`, projectId: 'thermocline-tests' }
  }

  async createBucket(name = `thermocline-${randomBytes(8).toString('hex')}`): Promise<string> {
    serveBuckets(this.#store, { operation: 'buckets.insert', bucket: '', object: '', destination: { bucket: '', object: '' }, query: new URLSearchParams({ project: 'thermocline-tests' }), headers: {} }, Buffer.from(JSON.stringify({ name })))
    return name
  }

  async stop(): Promise<void> {
    this.faults.clear()
    if (!this.#server.listening) return
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /** @internal */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#server.once('error', reject).listen(this.port, '127.0.0.1', resolve))
    this.#server.unref()
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    let request: GcsRequest | undefined
    let served: Served | undefined
    let fault: Fault | undefined
    let reply: Reply
    try {
      request = parseRequest(message)
      served = { ...request, status: undefined }
      this.requests.push(served)
      fault = this.faults.take(request)
      const { body, isWhole } = await readBody(message, fault?.kind === 'cut upload' ? fault.afterBytes : Infinity)
      if ((fault?.kind === 'error' || fault?.kind === 'reset') && !fault.isDone) reply = { status: 204 } // replaced below
      else reply = this.#answer(request, body, isWhole)
    } catch (error) {
      reply = (error instanceof GcsError ? error : new GcsError(500, 'internalError', String(error))).replyTo(request?.operation)
    }
    if (fault?.kind === 'error') reply = new GcsError(fault.status, fault.reason, `injected ${fault.status}`, { headers: fault.headers }).replyTo(request?.operation)
    if (served !== undefined && fault?.kind !== 'reset' && fault?.kind !== 'cut upload') served.status = reply.status
    this.#send(response, reply, fault)
  }

  #answer(request: GcsRequest, body: Buffer, isWhole: boolean): Reply {
    if (!isWhole && request.operation !== 'uploads.put') throw new GcsError(400, 'badRequest', 'The connection ended before the body did.')
    checkAccess(request, this.tokens, this.#store)
    const reply = serveBuckets(this.#store, request, body) ?? serveObjects(this.#store, request, body, this) ?? this.#sessions.serve(request, body, isWhole, this)
    if (reply === undefined) throw notModelled(request.operation)
    return partial(reply, request.query.get('fields'))
  }

  #send(response: ServerResponse, reply: Reply, fault: Fault | undefined): void {
    if (response.destroyed) return
    if (fault?.kind === 'reset' || fault?.kind === 'cut upload') return void response.socket?.resetAndDestroy()
    const body = Buffer.isBuffer(reply.body) ? reply.body : Buffer.from(typeof reply.body === 'object' ? JSON.stringify(reply.body) : (reply.body ?? ''))
    const contentType: Record<string, string> = typeof reply.body === 'object' && !Buffer.isBuffer(reply.body) ? { 'content-type': 'application/json; charset=UTF-8' } : {}
    const length: Record<string, string> = reply.isLengthUnknown === true || reply.status === 204 || reply.status === 304 ? {} : { 'content-length': String(body.length) }
    const cut = fault?.kind === 'hang' || fault?.kind === 'truncate' ? fault.afterBytes : undefined
    if (cut === undefined || cut >= 0) response.writeHead(reply.status, { ...contentType, ...length, ...reply.headers })
    if (cut === undefined) return void response.end(fault?.kind === 'corrupt' ? corrupted(body) : body)
    if (cut >= 0) response.flushHeaders()
    if (fault?.kind === 'hang') this.faults.hold(() => response.socket?.resetAndDestroy())
    const sent = (): void => {
      if (fault?.kind === 'truncate') response.socket?.destroy()
    }
    if (cut > 0) response.write(body.subarray(0, cut), sent)
    else sent()
  }
}

/** Reads a request's body: up to so many bytes, and what has come of it when the connection breaks. */
async function readBody(message: IncomingMessage, atMost: number): Promise<{ readonly body: Buffer; readonly isWhole: boolean }> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of message as AsyncIterable<Buffer>) {
      chunks.push(chunk.subarray(0, atMost - length))
      length += chunk.length
      if (length >= atMost) return { body: Buffer.concat(chunks), isWhole: false }
    }
    return { body: Buffer.concat(chunks), isWhole: message.complete }
  } catch {
    return { body: Buffer.concat(chunks), isWhole: false }
  }
}

function corrupted(body: Buffer): Buffer {
  const copy = Buffer.from(body)
  const middle = Math.floor(copy.length / 2)
  if (copy.length > 0) copy[middle] = (copy[middle] ?? 0) ^ 1
  return copy
}

/** Starts a strict server on a free port of 127.0.0.1. It ends with the test file, at the latest. */
export async function startStrictGcs(): Promise<StrictGcsServer> {
  const server = new StrictGcsServer(await freePort())
  await server.listen()
  return server
}
