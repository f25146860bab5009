import { bucketCases } from './bucket.mjs'
import { bucketStreamCase } from './bucket-stream.mjs'
import { adapterAlone, rawS3, s3Backend, thermocline } from './s3-contenders.mjs'

const MB = 1_000_000
const store = { name: 'S3', begin: 's3', section: 'S3', server: { s3: {} } }
const raw = { name: '@aws-sdk/client-s3', open: rawS3, get: 'GetObject, collected', put: 'PutObject', list: 'ListObjectsV2', clear: 'ListObjectsV2 and DeleteObjects', stream: 'the GetObject stream' }
const ours = { thermocline, adapterAlone, backendOf: s3Backend }
const withSpace = (storeMegabytes) => ({ ...store, server: { s3: { storeMegabytes } } })

export const s3Cases = bucketCases(store, raw, ours)
export const s3StreamCases = [bucketStreamCase(withSpace(1024), raw, ours, '100 MB', 100 * MB, 9), bucketStreamCase(withSpace(3072), raw, ours, '1 GB', 1000 * MB, 4)]
