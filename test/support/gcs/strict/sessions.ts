import { expectedHashes } from './checksums.js'
import type { ObjectFields } from './metadata.js'
import { insertObject, type Settings, uploadFields, uploadName } from './objects.js'
import { checkPreconditions } from './preconditions.js'
import { GcsError, type Reply } from './reply.js'
import { type GcsRequest, parseJson } from './request.js'
import { UploadSession } from './resumable.js'
import { objectResource, type Store } from './store.js'

interface Session {
  readonly upload: UploadSession
  readonly bucket: string
  readonly name: string
  readonly query: URLSearchParams
  readonly fields: ObjectFields
  /** Once it is complete: what the object was then. */
  resource: object | undefined
}

/** The resumable uploads of a server; see `UploadSession` for how one goes. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  /** How many are neither complete nor ended. */
  get open(): number {
    return [...this.#sessions.values()].filter(({ upload }) => upload.isOpen).length
  }

  /** All that are open answer 410 from now on. */
  breakOff(): void {
    for (const { upload } of this.#sessions.values()) upload.breakOff()
  }

  serve(request: GcsRequest, body: Buffer, isWhole: boolean, settings: Settings): Reply | undefined {
    switch (request.operation) {
      case 'uploads.start':
        return this.#start(request, body)
      case 'uploads.put':
        return this.#put(this.#session(request), request, body, isWhole, settings)
      case 'uploads.cancel':
        this.#session(request).upload.cancel()
        return { status: 499 } // the answer to a cancellation that went well (.../docs/performing-resumable-uploads#cancel-upload)
      default:
        return undefined
    }
  }

  /** The session's address has the host that the client named, so that it leads through a proxy when the request came through one. */
  #start({ bucket, query, headers }: GcsRequest, body: Buffer): Reply {
    const metadata = parseJson(body)
    const name = uploadName(query, metadata)
    const contentType = headers['x-upload-content-type']
    const fields = uploadFields(query, metadata, typeof contentType === 'string' ? contentType : undefined)
    checkPreconditions(query, this.#store.bucket(bucket).objects.get(name))
    const declared = headers['x-upload-content-length']
    const upload = new UploadSession(expectedHashes(metadata, headers), declared === undefined ? undefined : Number(declared))
    this.#sessions.set(upload.id, { upload, bucket, name, query, fields, resource: undefined })
    const location = `http://${headers.host ?? ''}/upload/storage/v1/b/${bucket}/o?uploadType=resumable&name=${encodeURIComponent(name)}&upload_id=${upload.id}`
    return { status: 200, headers: { location, 'x-guploader-uploadid': upload.id } }
  }

  #put(session: Session, { headers }: GcsRequest, body: Buffer, isWhole: boolean, settings: Settings): Reply {
    if (session.resource !== undefined) return { status: 200, body: session.resource } // a client whose last answer was lost asks again
    const progress = session.upload.put(headers['content-range'], body, { isWhole, hashes: expectedHashes({}, headers) })
    if (!progress.isDone) {
      const range: Record<string, string> = progress.received === 0 ? {} : { range: `bytes=0-${progress.received - 1}` }
      return { status: 308, headers: range }
    }
    try {
      session.resource = objectResource(insertObject(this.#store, session, progress.data, session.fields, settings)) // preconditions hold at the end as well as at the start
    } catch (error) {
      session.upload.breakOff()
      throw error
    }
    session.upload.complete()
    return { status: 200, body: session.resource }
  }

  #session({ bucket, query }: GcsRequest): Session {
    const session = this.#sessions.get(query.get('upload_id') ?? '')
    if (session?.bucket !== bucket) throw new GcsError(404, 'notFound', 'Not Found')
    return session
  }
}
