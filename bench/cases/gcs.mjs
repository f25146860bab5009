/*
 * Cloud Storage without Cloud Storage: the strict server of the tests, one process of Node (see lib/gcs-server.mjs). The titles say so.
 */
import { bucketCases } from './bucket.mjs'
import { bucketStreamCase } from './bucket-stream.mjs'
import { adapterAlone, gcsBackend, rawGcs, thermocline } from './gcs-contenders.mjs'

const MB = 1_000_000
const store = { name: 'GCS on a strict server of our own', begin: 'gcs', section: 'GCS', server: { gcs: {} } }
const raw = { name: '@google-cloud/storage', open: rawGcs, get: 'File.download', put: 'File.save', list: 'Bucket.getFiles', clear: 'Bucket.getFiles and File.delete, 32 at once', stream: 'File.createReadStream' }
const ours = { thermocline, adapterAlone, backendOf: gcsBackend }

export const gcsCases = [...bucketCases(store, raw, ours), bucketStreamCase(store, raw, ours, '100 MB', 100 * MB, 9)]
