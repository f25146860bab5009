import type { Operation } from './request.js'

/** What a request is answered with. */
export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON. A stream of unknown length is sent when `isLengthUnknown`. */
  readonly body?: Buffer | string | object
  readonly isLengthUnknown?: boolean
}

interface ErrorDetail {
  readonly message: string
  readonly domain: string
  readonly reason: string
  readonly locationType?: string
  readonly location?: string
}

/**
 * An answer with an error. The shape of its JSON, domains and reasons: "HTTP status and error codes for JSON"
 * (cloud.google.com/storage/docs/json_api/v1/status-codes).
 */
export class GcsError extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly #details: readonly ErrorDetail[]

  constructor(status: number, reason: string, message: string, more: Partial<ErrorDetail> & { readonly headers?: Readonly<Record<string, string>> } = {}) {
    super(message)
    const { headers = {}, ...place } = more
    this.status = status
    this.headers = headers
    this.#details = [{ message, domain: 'global', reason, ...place }]
  }

  /** What the request's operation makes of the shape of the answer: JSON, text, or XML. */
  replyTo(operation: Operation | undefined): Reply {
    if (operation !== 'objects.download' || this.status === 304) return this.toReply(operation === 'objects.media')
    return { ...inXml(this.status, this.#details[0]?.reason ?? '', this.message) }
  }

  /** `alt=media` requests are answered with the message alone, as text: what the client then shows as the message of its error. */
  toReply(isMedia: boolean): Reply {
    if (this.status === 304) return { status: 304, headers: this.headers } // has no body, in HTTP
    if (isMedia) return { status: this.status, headers: { 'content-type': 'text/html; charset=UTF-8', ...this.headers }, body: this.message }
    return { status: this.status, headers: this.headers, body: { error: { code: this.status, message: this.message, errors: this.#details } } }
  }
}

/** The same error in the words of the XML API (cloud.google.com/storage/docs/xml-api/reference-status). */
export function inXml(status: number, reason: string, message: string): Reply {
  const known: Readonly<Record<number, string>> = { 401: 'AuthenticationRequired', 403: 'AccessDenied', 404: message === noBucket().message ? 'NoSuchBucket' : 'NoSuchKey', 416: 'InvalidRange', 500: 'InternalError', 503: 'ServiceUnavailable' }
  const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const body = `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${known[status] ?? escape(reason)}</Code><Message>${escape(message)}</Message></Error>`
  return { status, headers: { 'content-type': 'application/xml; charset=UTF-8' }, body }
}

export function noBucket(): GcsError {
  return new GcsError(404, 'notFound', 'The specified bucket does not exist.')
}

export function noObject(bucket: string, name: string): GcsError {
  return new GcsError(404, 'notFound', `No such object: ${bucket}/${name}`)
}

export function invalid(message: string): GcsError {
  return new GcsError(400, 'invalid', message)
}

/** Something of Cloud Storage that this server does not model. Loud, so that no test rests on it. */
export function notModelled(what: string): GcsError {
  return new GcsError(501, 'notImplemented', `the server of the tests does not model ${what}`)
}
