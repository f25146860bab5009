import {
  DeleteBucketLifecycleCommand,
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
  type LifecycleRule as StoredRule,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { isCacheError } from '@thermocline/backend'
import type { LifecycleRule } from '@thermocline/s3'
import { describeCeph, startCeph, type CephServer } from '../../../test/support/s3/index.js'
import { until } from '../../../test/support/servers/until.js'
import { Meddler } from './support/meddler.js'
import { optionsFor, Shelf } from './support/shelf.js'

jest.setTimeout(60_000)

const RULES: readonly LifecycleRule[] = [{ transitionDays: 30, storageClass: 'STANDARD_IA' }, { expirationDays: 365 }]

/** Of a time when rules had no filters. */
const OLD_FORM = JSON.parse('{ "ID": "old form", "Status": "Disabled", "Prefix": "legacy/", "Expiration": { "Days": 30 } }') as StoredRule

/** Of other people, in the shapes that rules have. */
const OTHERS: readonly StoredRule[] = [
  { ID: 'logs', Status: 'Enabled', Filter: { Prefix: 'logs/' }, Expiration: { Days: 7 }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 } },
  { ID: 'everything', Status: 'Enabled', Filter: { Prefix: '' }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } },
  OLD_FORM,
  { ID: 'tagged', Status: 'Enabled', Filter: { And: { Prefix: 'tmp/', Tags: [{ Key: 'a', Value: 'b' }] } }, Expiration: { Days: 3 } },
  { ID: 'versions', Status: 'Enabled', Filter: { Prefix: 'v/' }, NoncurrentVersionExpiration: { NoncurrentDays: 9 }, Transitions: [{ Days: 40, StorageClass: 'STANDARD_IA' }] },
  { ID: 'thermocline-of-others', Status: 'Enabled', Filter: { Prefix: 'elsewhere/tenants/' }, Expiration: { Days: 5 } },
  { ID: 'beneath', Status: 'Enabled', Filter: { Prefix: 'cache/tenants/acme/' }, Expiration: { Days: 1000 } },
]

describeCeph('lifecycle', () => {
  let server: CephServer
  let meddler: Meddler
  beforeAll(async () => {
    server = await startCeph({ lifecycleDaySeconds: 1 })
    meddler = await Meddler.start(server.endpoint)
  }, 60_000)
  afterAll(() => server.stop())

  const open = async (lifecycleRules: readonly LifecycleRule[] | undefined, bucket?: string, prefix = 'cache'): Promise<Shelf> =>
    new Shelf(server, { ...optionsFor(server, bucket ?? (await server.createBucket()), { port: meddler.port }), prefix, ...(lifecycleRules === undefined ? {} : { lifecycleRules }) })
  const stored = async (shelf: Shelf): Promise<StoredRule[]> => {
    try {
      return (await shelf.plain.send(new GetBucketLifecycleConfigurationCommand({ Bucket: shelf.bucket }))).Rules ?? []
    } catch (error) {
      if ((error as Error).name === 'NoSuchLifecycleConfiguration') return []
      throw error
    }
  }
  const store = async (shelf: Shelf, rules: readonly StoredRule[]): Promise<void> => {
    await shelf.plain.send(new PutBucketLifecycleConfigurationCommand({ Bucket: shelf.bucket, LifecycleConfiguration: { Rules: [...rules] } }))
  }
  const byId = (rules: readonly StoredRule[]): StoredRule[] => [...rules].sort((a, b) => (a.ID! < b.ID! ? -1 : 1))

  // the first: Ceph goes through all buckets with rules in turn, and gets slower with each
  test('an expiration rule removes our objects and no others', async () => {
    const shelf = await open([{ expirationDays: 1 }])
    await shelf.put('k', 'x')
    await shelf.putPlain('cache/readme', 'x')
    await shelf.backend.applyLifecycle()
    await until('it has expired', async () => !(await shelf.exists(shelf.nameOf('k'))), { withinMs: 40_000, everyMs: 200 })
    expect(await shelf.get('k')).toBeUndefined()
    expect(await shelf.exists('cache/readme')).toBe(true)
    await shelf.plain.send(new DeleteBucketLifecycleCommand({ Bucket: shelf.bucket }))
  })

  describe('a comparison', () => {
    test('tells once, in the background, what differs and what would change it', async () => {
      const shelf = await open(RULES)
      await until('it is told', () => shelf.reports.length > 0)
      expect(shelf.reports[0]).toMatchObject({ code: 'misconfigured', backend: 's3' })
      expect(shelf.reports[0]!.message).toContain('applyLifecycle() would change it')
      expect(shelf.reports[0]!.message).toMatch(/rule 1 is missing .*move to STANDARD_IA after 30 days.*rule 2 is missing .*removed after 365 days/)
      expect(await stored(shelf)).toEqual([])
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(shelf.reports).toHaveLength(1)
    })

    test('without rules nothing is asked', async () => {
      meddler.reset()
      await open(undefined)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(meddler.seen).toEqual([])
    })

    test('of what is as it ought to be says nothing, whatever else is there', async () => {
      const shelf = await open(RULES)
      await store(shelf, OTHERS)
      await shelf.backend.applyLifecycle()
      meddler.reset()
      const again = await open(RULES, shelf.bucket)
      await until('it has asked', () => meddler.seen.includes('GET lifecycle'))
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(again.reports).toEqual([])
    })

    test('that is not allowed is told, and not tried again', async () => {
      meddler.meddle = ({ query }) => (query.has('lifecycle') ? { status: 403, code: 'AccessDenied' } : undefined)
      const shelf = await open(RULES)
      await until('it is told', () => shelf.reports.length > 0)
      expect(shelf.reports[0]).toMatchObject({ code: 'misconfigured', message: expect.stringContaining('grant s3:GetLifecycleConfiguration') })
      meddler.reset()
    })

    test('of a store that is away troubles nobody', async () => {
      meddler.meddle = () => ({ status: 503, code: 'ServiceUnavailable' })
      const shelf = await open(RULES)
      await until('it has asked', () => meddler.seen.includes('GET lifecycle'))
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(shelf.reports).toEqual([])
      meddler.reset()
    })
  })

  describe('applyLifecycle', () => {
    test('adds, replaces and removes our rules, and leaves all others as they are', async () => {
      const first = await open(RULES)
      await store(first, OTHERS)
      const before = byId(await stored(first))
      expect(await first.backend.applyLifecycle()).toEqual({ changed: true, differences: [expect.stringMatching(/^rule 1 is missing/), expect.stringMatching(/^rule 2 is missing/)] })
      const after = await stored(first)
      expect(after).toHaveLength(OTHERS.length + 2)
      expect(byId(after.filter(({ ID }) => OTHERS.some((rule) => rule.ID === ID)))).toEqual(before)
      const ours = byId(after.filter(({ ID }) => !OTHERS.some((rule) => rule.ID === ID)))
      expect(ours).toMatchObject([
        { Status: 'Enabled', Filter: { Prefix: 'cache/tenants/' }, Transitions: [{ Days: 30, StorageClass: 'STANDARD_IA' }] },
        { Status: 'Enabled', Filter: { Prefix: 'cache/tenants/' }, Expiration: { Days: 365 } },
      ])
      for (const { ID } of ours) expect(ID).toMatch(/^thermocline-[\da-f]{8}-[12]$/)

      meddler.reset()
      expect(await meddler.requestsOf(async () => expect(await first.backend.applyLifecycle()).toEqual({ changed: false, differences: [] }))).toEqual(['GET lifecycle'])

      const second = await open([{ expirationDays: 100 }, { id: 'frames', tenant: 'acme', prefix: 'frames/', expirationDays: 5 }], first.bucket)
      expect(await second.backend.applyLifecycle()).toEqual({
        changed: true,
        differences: [expect.stringMatching(/^rule frames is missing/), expect.stringMatching(/^rule 1 says .*STANDARD_IA.* instead of .*removed after 100 days/), expect.stringMatching(/^rule 2 is not wanted/)],
      })
      const last = await stored(second)
      expect(byId(last.filter(({ ID }) => OTHERS.some((rule) => rule.ID === ID)))).toEqual(before)
      expect(last.find(({ ID }) => ID?.endsWith('-frames'))).toMatchObject({ Filter: { Prefix: 'cache/tenants/acme/frames/' }, Expiration: { Days: 5 } })
    })

    test('two caches in one bucket have rules of their own', async () => {
      const one = await open(RULES)
      const two = await open([{ expirationDays: 3 }], one.bucket, 'cache2')
      await one.backend.applyLifecycle()
      await two.backend.applyLifecycle()
      expect(await one.backend.applyLifecycle()).toMatchObject({ changed: false })
      expect(await stored(one)).toHaveLength(3)
    })

    test('without rules it removes ours, and the configuration when nothing is left', async () => {
      const shelf = await open(RULES)
      await shelf.backend.applyLifecycle()
      const without = await open(undefined, shelf.bucket)
      expect(await without.backend.applyLifecycle()).toEqual({ changed: true, differences: [expect.stringMatching(/^rule 1 is not wanted/), expect.stringMatching(/^rule 2 is not wanted/)] })
      expect(await stored(shelf)).toEqual([])
    })

    test('keeps the least size of objects that move (answers of our own)', async () => {
      const shelf = await open(RULES)
      meddler.meddle = ({ method }) => (method === 'GET' ? { change: (headers) => (headers['x-amz-transition-default-minimum-object-size'] = 'varies_by_storage_class') } : undefined)
      await store(shelf, OTHERS.slice(0, 1))
      const sizes: unknown[] = []
      const change = meddler.meddle
      meddler.meddle = (request) => {
        if (request.method === 'PUT') sizes.push(request.headers['x-amz-transition-default-minimum-object-size'])
        return change(request)
      }
      await shelf.backend.applyLifecycle()
      expect(sizes).toEqual(['varies_by_storage_class'])
      meddler.reset()
    })

    test('what may pass is tried again, four times in all', async () => {
      const shelf = await open(RULES)
      let left = 2
      meddler.meddle = () => (left-- > 0 ? { status: 503, code: 'ServiceUnavailable' } : undefined)
      expect(await shelf.backend.applyLifecycle()).toMatchObject({ changed: true })
      meddler.meddle = () => ({ status: 503, code: 'ServiceUnavailable' })
      const seen = await meddler.requestsOf(async () => expect(shelf.backend.applyLifecycle()).rejects.toMatchObject({ code: 'unavailable' }))
      expect(seen).toEqual(Array.from({ length: 4 }, () => 'GET lifecycle'))
      meddler.reset()
    })

    test('says what is wrong', async () => {
      const shelf = new Shelf(server, { ...optionsFor(server, 'no-such-bucket'), lifecycleRules: RULES })
      const error: unknown = await shelf.backend.applyLifecycle().catch((thrown: unknown) => thrown)
      expect(isCacheError(error) && error.code).toBe('bucket-missing')
    })
  })
})
