import { GcsError } from './reply.js'
import { type GcsRequest, isRead } from './request.js'
import type { Store } from './store.js'

/** What the holder of a token may do: everything; read objects, but not list them; nothing. */
export type Role = 'owner' | 'reader' | 'stranger'

const PERMISSIONS: Partial<Record<GcsRequest['operation'], string>> = { 'objects.media': 'objects.get', 'objects.download': 'objects.get', 'objects.insert': 'objects.create', 'objects.patch': 'objects.update', 'uploads.start': 'objects.create' }

/**
 * Refuses who may not: 401 without a token or with one that is not known, 403 without the permission
 * (cloud.google.com/storage/docs/json_api/v1/status-codes). Who may not list the bucket is not told that an object is missing, but 403:
 * the message itself says "or it may not exist".
 */
export function checkAccess(request: GcsRequest, tokens: Readonly<Record<string, Role>> | undefined, store: Store): void {
  if (tokens === undefined || request.operation === 'uploads.put' || request.operation === 'uploads.cancel') return // who has the address of a session needs nothing else (.../docs/resumable-uploads#session-uris)
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  const place = { locationType: 'header', location: 'Authorization' }
  const permission = PERMISSIONS[request.operation] ?? request.operation
  const resource = request.object === '' ? 'bucket' : 'object'
  const denial = (who: string): string => `${who} does not have storage.${permission} access to the Google Cloud Storage ${resource}. Permission 'storage.${permission}' denied on resource (or it may not exist).`
  if (token === undefined) throw new GcsError(401, 'required', denial('Anonymous caller'), place)
  const role = tokens[token]
  if (role === undefined) throw new GcsError(401, 'authError', 'Invalid Credentials', place)
  const forbidden = new GcsError(403, 'forbidden', denial('tests@thermocline.iam.gserviceaccount.com'))
  if (role === 'stranger') throw forbidden
  if (role === 'owner') return
  const readsObject = isRead(request) && request.object !== ''
  if (!readsObject || store.buckets.get(request.bucket)?.objects.has(request.object) !== true) throw forbidden
}
