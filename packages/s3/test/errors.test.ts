import { DeleteBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { isCacheError, type CacheError } from '@thermocline/backend'
import { streamOf } from '@thermocline/testkit'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeCeph, startCeph, type CephServer } from '../../../test/support/s3/index.js'
import { secretsIn } from '../../../test/support/secrets-in.js'
import { Meddler } from './support/meddler.js'
import { optionsFor, Shelf } from './support/shelf.js'

const HOUR_MS = 3_600_000

async function failureOf(promise: Promise<unknown>): Promise<CacheError> {
  const error: unknown = await promise.then(() => 'it resolved', (thrown: unknown) => thrown)
  if (!isCacheError(error)) throw new Error(`no CacheError: ${String(error)}`, { cause: error })
  return error
}

/** Every operation, each by itself. */
const OPERATIONS: Readonly<Record<string, (shelf: Shelf) => Promise<unknown>>> = {
  get: (shelf) => shelf.get('k'),
  head: (shelf) => shelf.holds('k'),
  stream: (shelf) => shelf.entry('k', { want: 'stream' }),
  put: (shelf) => shelf.put('k', 'x'),
  'put if absent': (shelf) => shelf.put('k', 'x', { onlyIfAbsent: true }),
  'put of a stream': (shelf) => shelf.put('k', streamOf([Buffer.from('x')])),
  delete: (shelf) => shelf.delete('k'),
  'delete of many': (shelf) => shelf.delete('k', 'l'),
  clear: (shelf) => shelf.clear(),
  list: (shelf) => shelf.list(),
}
const READS = ['get', 'head', 'stream']

describeCeph('what a store refuses', () => {
  let server: CephServer
  let bucket: string
  let meddler: Meddler
  beforeAll(async () => {
    server = await startCeph()
    bucket = await server.createBucket()
    meddler = await Meddler.start(server.endpoint)
  }, 60_000)
  afterAll(() => server.stop())
  const open = (): Shelf => {
    meddler.reset()
    return new Shelf(server, optionsFor(server, bucket, { port: meddler.port }))
  }

  test.each(Object.keys(OPERATIONS))('a bucket that does not exist: %s', async (name) => {
    const shelf = new Shelf(server, optionsFor(server, `${bucket}-absent`))
    const error = await failureOf(OPERATIONS[name]!(shelf))
    expect(error).toMatchObject({ code: 'bucket-missing', retryable: false, backend: 's3' })
    expect(error.message).toMatch(/create the bucket|create it/)
  })

  test('a bucket that is removed later is found out by a head too', async () => {
    const own = await server.createBucket()
    const shelf = new Shelf(server, optionsFor(server, own))
    expect(await shelf.holds('k')).toBe(false)
    await shelf.plain.send(new DeleteBucketCommand({ Bucket: own }))
    expect(await failureOf(shelf.put('k', 'x'))).toMatchObject({ code: 'bucket-missing' })
    expect(await failureOf(shelf.holds('k'))).toMatchObject({ code: 'bucket-missing' })
  })

  test('that the bucket exists is asked once', async () => {
    const shelf = open()
    expect(await meddler.requestsOf(async () => [await shelf.holds('k'), await shelf.holds('k')])).toEqual([`HEAD ${shelf.nameOf('k')}`, 'HEAD', `HEAD ${shelf.nameOf('k')}`])
  })

  describe.each(Object.keys(OPERATIONS))('%s', (name) => {
    const run = (shelf: Shelf): Promise<CacheError> => failureOf(OPERATIONS[name]!(shelf))

    test('with credentials that are not known, or wrong', async () => {
      for (const user of [{ accessKeyId: 'UNKNOWN', secretAccessKey: 'x' }, { ...server.credentials, secretAccessKey: 'hunter2' }]) {
        const error = await run(new Shelf(server, optionsFor(server, bucket, { user })))
        expect(error).toMatchObject({ code: 'access-denied', retryable: false })
        expect(secretsIn(error, ['hunter2', server.credentials.accessKeyId])).toEqual([])
      }
    })

    test('with a clock that is an hour off: retryable, as the SDK has learned the time', async () => {
      const now = Date.now.bind(Date)
      const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + HOUR_MS)
      afterwards(() => clock.mockRestore())
      const shelf = new Shelf(server, optionsFor(server, bucket))
      const error = await run(shelf)
      expect(error).toMatchObject({ code: 'clock-skew', retryable: name !== 'put of a stream' })
      await OPERATIONS[name]!(shelf)
      expect(shelf.reports).toEqual([])
    })

    test.each([
      [503, 'SlowDown', 'throttled', true],
      [429, 'TooManyRequests', 'throttled', true],
      [429, undefined, 'throttled', true],
      [500, 'InternalError', 'unavailable', true],
      [502, undefined, 'unavailable', true],
      [503, 'ServiceUnavailable', 'unavailable', true],
      [400, 'RequestTimeout', 'unavailable', true],
      [409, 'OperationAborted', 'failed', true],
      [400, 'InvalidArgument', 'failed', false],
      [403, 'QuotaExceeded', 'storage-full', false],
      [507, undefined, 'storage-full', false],
      [403, 'ExpiredToken', 'access-denied', false],
    ] as const)('answered with %i %s (by us)', async (status, code, expected, retryable) => {
      const shelf = open()
      meddler.meddle = () => ({ status, ...(code === undefined ? {} : { code }) })
      const error = await run(shelf)
      // a HEAD has no body, so that only its status is known
      if (name === 'head') {
        expect(error.message).toContain(String(status))
        return
      }
      expect(error).toMatchObject({ code: expected, retryable: retryable && name !== 'put of a stream', backend: 's3' })
      expect(error.message).toMatch(code === undefined ? new RegExp(String(status)) : new RegExp(code))
    })

    test('sent to the wrong region (answers of our own, as Amazon gives them)', async () => {
      const shelf = open()
      const headers = { 'x-amz-bucket-region': 'eu-central-1' }
      for (const answer of [{ status: 301, code: 'PermanentRedirect', headers }, { status: 400, code: 'AuthorizationHeaderMalformed', headers }]) {
        meddler.meddle = () => answer
        expect(await run(shelf)).toMatchObject({ code: 'wrong-region', retryable: false, message: expect.stringContaining("region: 'eu-central-1'") })
      }
    })

    test('and no credentials to be found', async () => {
      const { credentials: _none, ...rest } = optionsFor(server, bucket)
      const shelf = new Shelf(server, { ...rest, credentials: () => Promise.reject(Object.assign(new Error('nothing found'), { name: 'CredentialsProviderError' })) })
      expect(await run(shelf)).toMatchObject({ code: 'access-denied', message: expect.stringContaining('nothing found') })
    })
  })

  describe('archived objects (answers of our own)', () => {
    const archived = (): void => {
      meddler.meddle = ({ method }) => (method === 'GET' ? { status: 403, code: 'InvalidObjectState', message: "The operation is not valid for the object's storage class" } : { change: (headers) => (headers['x-amz-storage-class'] = 'GLACIER') })
    }

    test('are misses, told once for each key', async () => {
      const shelf = open()
      for (const key of ['a', 'b']) await shelf.put(key, 'x')
      archived()
      for (const key of ['a', 'a', 'b', 'a']) expect(await shelf.get(key)).toBeUndefined()
      expect(await shelf.entry('a', { want: 'stream' })).toBeUndefined()
      expect(await shelf.holds('a')).toBe(false)
      expect(shelf.reports.map(({ code, key }) => [code, key])).toEqual([['archived', 'a'], ['archived', 'b']])
      meddler.reset()
      expect(String(await shelf.get('a'))).toBe('x') // it was restored
    })

    test('a head tells it by itself once the store has said that it does not read them', async () => {
      const shelf = open()
      await shelf.put('a', 'x')
      archived()
      expect(await shelf.holds('a')).toBe(true) // a store that only has such a class
      await shelf.get('a')
      expect(await shelf.holds('a')).toBe(false)
      meddler.meddle = () => ({ change: (headers) => Object.assign(headers, { 'x-amz-storage-class': 'GLACIER', 'x-amz-restore': 'ongoing-request="false", expiry-date="Fri, 21 Dec 2035 00:00:00 GMT"' }) })
      expect(await shelf.holds('a')).toBe(true)
    })
  })

  describe('a user who may not list the bucket', () => {
    /** What the other user may do in a bucket of the first one's. */
    const allow = async (...actions: string[]): Promise<Shelf> => {
      const own = await server.createBucket()
      const shelf = new Shelf(server, optionsFor(server, own, { user: server.otherUser!, port: meddler.port }))
      const statements = actions.map((action) => ({ Effect: 'Allow', Principal: { AWS: ['arn:aws:iam:::user/other'] }, Action: [action], Resource: [action === 's3:ListBucket' ? `arn:aws:s3:::${own}` : `arn:aws:s3:::${own}/*`] }))
      await shelf.plain.send(new PutBucketPolicyCommand({ Bucket: own, Policy: JSON.stringify({ Version: '2012-10-17', Statement: statements }) }))
      meddler.reset()
      return shelf
    }

    test('a key that is not there is a miss, which is told once; what is there is read', async () => {
      const shelf = await allow('s3:GetObject', 's3:PutObject')
      expect(await shelf.put('there', 'x')).toBe(true)
      const requests = await meddler.requestsOf(async () => {
        expect(await Promise.all([shelf.get('absent'), shelf.get('absent too'), shelf.holds('absent')])).toEqual([undefined, undefined, false])
      })
      expect(requests.filter((request) => request.includes('~absent'))).toHaveLength(1)
      expect(requests.filter((request) => request.includes('list-type'))).toHaveLength(1)
      expect(await meddler.requestsOf(() => shelf.get('absent'))).toHaveLength(1)
      expect(String(await shelf.get('there'))).toBe('x')
      expect(await shelf.holds('there')).toBe(true)
      expect(shelf.reports).toHaveLength(1)
      expect(shelf.reports[0]).toMatchObject({ code: 'access-denied', message: expect.stringContaining('grant s3:ListBucket') })
      expect(await failureOf(shelf.list())).toMatchObject({ code: 'access-denied', message: expect.stringContaining('s3:ListBucket') })
    })

    test('promotion works without listing', async () => {
      const shelf = await allow('s3:GetObject', 's3:PutObject')
      expect(await shelf.put('k', 'x', { onlyIfAbsent: true })).toBe(true)
      expect(await shelf.put('k', 'y', { onlyIfAbsent: true })).toBe(false)
      expect(await shelf.put('l', streamOf([Buffer.from('x')]), { onlyIfAbsent: true })).toBe(true)
    })

    test('one who may list but not read is told so, and nothing is taken for a miss', async () => {
      const shelf = await allow('s3:ListBucket', 's3:PutObject')
      await shelf.putPlain(shelf.nameOf('there'), 'x')
      for (const name of READS) expect(await failureOf(name === 'get' ? shelf.get('there') : name === 'head' ? shelf.holds('there') : shelf.entry('there', { want: 'stream' }))).toMatchObject({ code: 'access-denied', retryable: false })
      expect(await shelf.get('absent')).toBeUndefined()
      expect(shelf.reports).toEqual([])
    })

    test('one who may only read is told so when writing', async () => {
      const shelf = await allow('s3:GetObject', 's3:ListBucket')
      for (const name of ['put', 'put of a stream', 'delete']) expect(await failureOf(OPERATIONS[name]!(shelf))).toMatchObject({ code: 'access-denied', retryable: false })
      await shelf.putPlain(shelf.nameOf('k'), 'x')
      const error = await failureOf(shelf.delete('k', 'l'))
      expect(error).toMatchObject({ code: 'access-denied' })
    })

    test('Amazon says which right is missing: then one refusal is enough (answers of our own)', async () => {
      const shelf = open()
      meddler.meddle = () => ({ status: 403, code: 'AccessDenied', message: 'User: arn:aws:iam::1:user/a is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::b/k"' })
      expect(await failureOf(shelf.get('k'))).toMatchObject({ code: 'access-denied' })
      expect(meddler.seen.filter((request) => request.includes('list-type'))).toEqual([])
    })
  })

  test('after its end a backend says so, and asks nobody', async () => {
    const shelf = open()
    await shelf.put('k', 'x')
    await shelf.close()
    for (const name of Object.keys(OPERATIONS)) expect(await failureOf(OPERATIONS[name]!(shelf))).toMatchObject({ code: 'closed' })
  })

  test('a client of the user’s stays open', async () => {
    const client = new S3Client(server.clientConfig())
    afterwards(() => client.destroy())
    const shelf = new Shelf(server, { bucket, client })
    await shelf.put('k', 'x')
    await shelf.close()
    const again = new Shelf(server, { bucket, client, prefix: shelf.prefix })
    expect(String(await again.get('k'))).toBe('x')
  })

  test('one who ends the backend while it is loading gets nothing and leaves nothing', async () => {
    const shelf = open()
    const put = failureOf(shelf.put('k', 'x'))
    await shelf.close()
    expect((await put).code).toMatch(/closed|unavailable|failed/)
  })
})
