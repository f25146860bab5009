import { invalid } from './reply.js'

export interface UploadParts {
  readonly metadata: Buffer
  readonly contentType: string | undefined
  readonly data: Buffer
}

/** The two parts of a `multipart/related` upload: the metadata as JSON, and the bytes (cloud.google.com/storage/docs/uploading-objects#rest-upload-objects). */
export function parseMultipart(contentType: string, body: Buffer): UploadParts {
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType)?.[1]
  if (!contentType.startsWith('multipart/') || boundary === undefined) throw invalid('Multipart must have a content-type of multipart/* with a boundary.')
  const whole = Buffer.concat([Buffer.from('\r\n'), body]) // so that the first boundary begins a line as well
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  const parts: Buffer[] = []
  let from = whole.indexOf(delimiter)
  for (;;) {
    const start = from + delimiter.length
    const end = from === -1 ? -1 : whole.indexOf(delimiter, start)
    if (end === -1) break
    parts.push(whole.subarray(start, end))
    from = end
  }
  const [first, second] = parts.map(splitPart)
  if (first === undefined || second === undefined || parts.length !== 2) throw invalid('Malformed multipart body.')
  return { metadata: first.data, contentType: second.contentType, data: second.data }
}

function splitPart(part: Buffer): { readonly contentType: string | undefined; readonly data: Buffer } {
  const end = part.indexOf('\r\n\r\n')
  if (end === -1) throw invalid('Malformed multipart body.')
  const headers = part.subarray(0, end).toString()
  return { contentType: /^content-type:[ \t]*(.*?)[ \t]*$/im.exec(headers)?.[1], data: part.subarray(end + 4) }
}
