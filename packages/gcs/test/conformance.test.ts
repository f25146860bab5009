import { randomUUID } from 'node:crypto'
import { describe, jest, test } from '@jest/globals'
import { validateKey, type Layer } from '@thermocline/backend'
import { Storage } from '@google-cloud/storage'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { ObjectNames } from '@thermocline/object-store'
import type { GcsBackendOptions } from '@thermocline/gcs'
import { behindProxy, damaged, guarded } from '../../../test/support/conformance.js'
import { startStrictGcs } from '../../../test/support/gcs/index.js'
import { onEachServer, scopeOf, staged, type Stage } from './support/shelf.js'

/** A backend in a part of the bucket that no other subject uses, as empty as a new bucket. */
function subject(stage: Stage, options: Partial<GcsBackendOptions> = {}, { layer = (inner) => inner, canBeDamaged = false }: { readonly layer?: Layer; readonly canBeDamaged?: boolean } = {}): Subject {
  const prefix = `conformance/${randomUUID()}`
  const open = (): ReturnType<Layer> => layer(stage.backend({ prefix, ...options }))
  const damage = async (tenant: string, key: string): Promise<void> => {
    const plain = new Storage({ ...stage.server.storageOptions(), retryOptions: { autoRetry: false } })
    const file = plain.bucket(stage.bucket).file(new ObjectNames(prefix).of(scopeOf(tenant), validateKey(key)))
    const [{ metadata, contentType = '', contentEncoding = '' }] = await file.getMetadata()
    const [bytes] = await file.download({ decompress: false, validation: false })
    await file.save(damaged(bytes), { resumable: false, validation: false, metadata: { metadata, contentType, contentEncoding } })
  }
  return { backend: open(), reopen: () => Promise.resolve(open()), ...(canBeDamaged ? { damage } : {}) }
}

/** A bucket takes payloads of up to 5 TiB, and any number. */
const WITHOUT: readonly Feature[] = ['payload limit', 'room']
const ALSO_WITHOUT: readonly Feature[] = [...WITHOUT, 'damage', 'outage']

/** All of the corpus; what more than a page does is in listing.test.ts. */
const MANY = 200
/** Once through with many keys is enough. */
const FEW = 25

jest.setTimeout(60_000) // the emulator takes 3 to 7 ms for a request

/** What the emulator cannot do: it ignores preconditions, and takes `a` and `a/` for one name. */
const NOT_ON_THE_EMULATOR: ReadonlySet<string> = new Set([
  'does not touch what is there',
  'does not touch what is still fresh before its stale window',
  'onlyIfAbsent has one winner among many',
  'has one winner among many',
  'takes hundreds of keys, weird ones, and small beside large',
  'lists weird keys as they are',
  'no two weird keys meet',
  'a durable store is still there after reopening',
  "a host's clock a day ahead of the machine's decides what is absent",
  "a host's clock a day behind the machine's decides what is absent",
])

const onEmulator = {
  describe,
  test: Object.assign((title: string, body: () => Promise<void>) => (NOT_ON_THE_EMULATOR.has(title) ? test.skip : test)(title, body), { skip: test.skip }),
}

onEachServer((stage) => {
  const create = (): Promise<Subject> => behindProxy(stage.server.port, (port) => subject(stage, { apiEndpoint: `http://127.0.0.1:${port}` }, { canBeDamaged: true }))
  describeBackend({ name: 'gcs', create, without: WITHOUT, runner: stage.kind === 'emulator' ? onEmulator : { describe, test }, many: stage.kind === 'emulator' ? FEW : MANY })
})

describe('on the strict server', () => {
  const stage = staged('strict', startStrictGcs)
  describeBackend({
    name: 'gcs without a prefix and with few connections',
    create: async () => subject(stage, { prefix: '', maxSockets: 8, bucket: await stage.server.createBucket() }),
    many: FEW,
    without: ALSO_WITHOUT,
  })
  describeBackend({
    name: 'gcs with a client of the user’s, under circuit breaker, timeout and retry',
    create: () => subject(stage, { client: new Storage(stage.server.storageOptions()) }, { layer: guarded(30_000) }),
    many: FEW,
    without: ALSO_WITHOUT,
  })
})
