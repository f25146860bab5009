import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadCache, parseConfig } from '@thermocline/config'
import { GcsBackend, type GcsBackendOptions } from '@thermocline/gcs'
import { gcs } from '../src/adapters/gcs.js'
import { startStrictGcs, type StrictGcsServer } from '../../../test/support/gcs/index.js'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { problemsOf, rejection, writeFiles } from './support.js'

const ACCOUNT = { type: 'service_account', client_email: 'cache@example.iam.gserviceaccount.com', private_key: 'hunter2' }
const cold = (config: Record<string, unknown>) => ({ tiers: { cold: { backend: 'gcs', config } } })

/** The options that a `config` becomes. */
function optionsOf(config: Record<string, unknown>, files: ReadonlyMap<string, Buffer> = new Map()): object {
  const options = gcs.options(parseConfig(cold(config)).tiers['cold']!.config, { files, maxPayloadBytes: undefined })
  expect(() => new GcsBackend(options as GcsBackendOptions)).not.toThrow()
  return options
}

describe('every setting of a gcs tier becomes an option of the backend', () => {
  const bucket = 'artifacts'
  test.each([
    [{ bucket }, { bucket }],
    [{ bucket, project_id: 'p', api_endpoint: 'http://localhost:4443', prefix: 'cache', storage_class: 'NEARLINE' }, { bucket, projectId: 'p', apiEndpoint: 'http://localhost:4443', prefix: 'cache', storageClass: 'NEARLINE' }],
    [{ bucket, anonymous: true, max_sockets: 8, default_ttl: 60 }, { bucket, anonymous: true, maxSockets: 8 }],
    [
      { bucket, lifecycle_rules: [{ id: 'cool', transition_days: 30, storage_class: 'COLDLINE' }, { tenant: 'acme', prefix: 'frames/', expiration_days: 365 }] },
      { bucket, lifecycleRules: [{ id: 'cool', transitionDays: 30, storageClass: 'COLDLINE' }, { tenant: 'acme', prefix: 'frames/', expirationDays: 365 }] },
    ],
  ])('%j', (config, options) => {
    expect(optionsOf(config)).toEqual(options)
  })

  test('the content of key_file stands in for its name', () => {
    expect(optionsOf({ bucket, key_file: 'account.json' }, new Map([['key_file', Buffer.from(JSON.stringify(ACCOUNT))]]))).toEqual({ bucket, credentials: ACCOUNT })
  })
})

describe('what is refused', () => {
  const rules = (...lifecycle_rules: object[]) => problemsOf(cold({ bucket: 'artifacts', lifecycle_rules }))
  test('is told with its place', () => {
    expect(rules({ expiration_days: 1, prefix: 'a' }, { transition_days: 1 }, { storage_class: 'NEARLINE' }, {}, { transition_days: 30, storage_class: 'NEARLINE', expiration_days: 30 })).toEqual([
      'tiers.cold.config.lifecycle_rules[0].prefix: needs `tenant` beside it: keys lie under their tenants',
      'tiers.cold.config.lifecycle_rules[1].transition_days: needs `storage_class` beside it: where objects move',
      'tiers.cold.config.lifecycle_rules[2].storage_class: needs `transition_days` beside it: when objects move',
      'tiers.cold.config.lifecycle_rules[3]: says nothing: give `transition_days` and `storage_class`, or `expiration_days`',
      'tiers.cold.config.lifecycle_rules[4].expiration_days: must be more than `transition_days` (30), found 30',
    ])
    expect(problemsOf(cold({ bucket: 'artifacts', anonymous: true, key_file: 'x' }))).toEqual(['tiers.cold.config.anonymous: must not be true together with `key_file`, which would not be used'])
    expect(problemsOf(cold({ bucket: 'artifacts', storage_class: 'GLACIER' }))[0]).toContain('tiers.cold.config.storage_class: expected')
  })

  test('a key file that is missing or holds something else is a problem of its setting, and its content is not shown', async () => {
    const directory = temporaryDirectory()
    writeFiles(directory, { 'cache.yaml': 'tiers: { cold: { backend: gcs, config: { bucket: artifacts, key_file: account.json } } }' })
    const file = path.join(directory, 'cache.yaml')
    expect((await rejection(loadCache(file))).problems).toMatchObject([{ path: 'tiers.cold.config.key_file', message: expect.stringContaining('neither beside the configuration file') as unknown }])
    writeFiles(directory, { 'account.json': '{"private_key":"hunter2"}' })
    const error = await rejection(loadCache(file))
    expect(error.problems).toMatchObject([{ path: 'tiers.cold.config.key_file', message: expect.stringContaining('holds no credentials') as unknown }])
    expect(error.message).not.toContain('hunter2')
    writeFiles(directory, { 'account.json': JSON.stringify(ACCOUNT) })
    await (await loadCache(file, { logger: false })).close()
  })

  test('what only the backend can refuse is a problem of its tier', async () => {
    const { problems } = await rejection(loadCache(cold({ bucket: 'NO' })))
    expect(problems).toMatchObject([{ path: 'tiers.cold.config', message: expect.stringContaining('bucket must be the name of a bucket') as unknown }])
  })
})

describe('a cold tier on Cloud Storage', () => {
  let server: StrictGcsServer
  beforeAll(async () => void (server = await startStrictGcs()))
  afterAll(() => server.stop())

  const load = async (bucket: string) => {
    const text = 'tiers: { hot: { backend: memory }, cold: { backend: gcs, config: { bucket: "${BUCKET}", api_endpoint: "${ENDPOINT}", prefix: cache, lifecycle_rules: [ { expiration_days: 365 } ] } } }'
    const directory = temporaryDirectory()
    writeFiles(directory, { 'cache.yaml': text })
    return loadCache(path.join(directory, 'cache.yaml'), { env: { BUCKET: bucket, ENDPOINT: server.endpoint }, logger: false })
  }

  test('gives one process what another has stored', async () => {
    const bucket = await server.createBucket()
    const one = await load(bucket)
    await one.tenant('acme').set('pages/a', { text: 'x' })
    const other = await load(bucket)
    const codes: string[] = []
    other.on('error', ({ error }) => codes.push(error.code))
    expect(await other.tenant('acme').lookup('pages/a')).toMatchObject({ status: 'fresh', tier: 'cold', value: { text: 'x' } })
    await Promise.all([one.close(), other.close()])
  })

  test('that is not there is waited for by nobody', async () => {
    const cache = await loadCache(cold({ bucket: 'artifacts', api_endpoint: 'http://127.0.0.1:1' }), { logger: false })
    expect(await cache.tenant('acme').getOrCompute('a', () => 1)).toBe(1)
    await cache.close()
  })
})
