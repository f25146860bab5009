import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { describeS3, type S3Server } from '../../../test/support/s3/index.js'
import type { Meddler } from './support/meddler.js'
import { optionsFor, Shelf, scopeOf } from './support/shelf.js'
import { startStage } from './support/stage.js'

jest.setTimeout(120_000)

/** Two pages and a part. */
const MANY = 2300
const LONG = `${'deep/'.repeat(204)}end` // 1,023 bytes: with tenant and prefix beyond what a name may have

describeS3('listing and removing', () => {
  let server: S3Server
  let bucket: string
  let meddler: Meddler
  beforeAll(async () => void ({ server, bucket, meddler } = await startStage()), 660_000)
  afterAll(() => server.stop())
  const open = (prefix?: string): Shelf => {
    meddler.reset()
    return new Shelf(server, { ...optionsFor(server, bucket, { port: meddler.port }), ...(prefix === undefined ? {} : { prefix }) })
  }
  /** Entries' objects, without the meddler between. */
  const fill = async (shelf: Shelf, keys: readonly string[]): Promise<void> => {
    const waiting = [...keys]
    const worker = async (): Promise<void> => {
      for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await shelf.plain.send(new PutObjectCommand({ Bucket: bucket, Key: shelf.nameOf(key), Body: 'x' }))
    }
    await Promise.all(Array.from({ length: 16 }, worker))
  }

  // one filling for all of them, in the order in which they empty it: the gateway takes thirty objects a second
  describe('more than a page', () => {
    const keys = Array.from({ length: MANY }, (_, i) => `${i % 2 === 0 ? 'in' : 'out'}/${i}`)
    const prefix = 'many'
    let client: S3Client
    /** On a busy machine the gateway takes longer than the adapter's own client waits for a thousand removals. */
    const openPatient = (): Shelf => {
      meddler.reset()
      return new Shelf(server, { bucket, prefix, client })
    }
    beforeAll(async () => {
      client = new S3Client({ ...server.clientConfig({ port: meddler.port }), requestHandler: { requestTimeout: 60_000 } })
      await fill(openPatient(), keys)
    })
    afterAll(() => client.destroy())

    test('keys and sizes come from the listing alone, a request for each thousand', async () => {
      const shelf = openPatient()
      let infos: { key: string; size?: number | undefined }[] = []
      const requests = await meddler.requestsOf(async () => (infos = await shelf.list()))
      expect(infos.map(({ key }) => key).sort()).toEqual([...keys].sort())
      expect(infos.every(({ size }) => size === 1)).toBe(true)
      expect(requests).toEqual(['GET list-type', 'GET list-type', 'GET list-type'])
      expect(await meddler.requestsOf(() => shelf.list('in/'))).toEqual(['GET list-type', 'GET list-type', 'GET list-type']) // two pages, and the hashed names
    })

    test('a listing that is left early asks for no more than the next page', async () => {
      const shelf = openPatient()
      const requests = await meddler.requestsOf(async () => {
        for await (const _ of shelf.backend.list(scopeOf('acme'), '', { detail: 'keys' })) break
        await new Promise((resolve) => setTimeout(resolve, 200))
      })
      expect(requests.length).toBeLessThanOrEqual(2)
    })

    test('delete removes a thousand with one request, and asks nothing', async () => {
      const shelf = openPatient()
      const some = keys.filter((key) => key.startsWith('out/'))
      expect(await meddler.requestsOf(async () => expect(await shelf.delete(...some, ...some.slice(0, 10))).toBeUndefined())).toEqual(['POST delete', 'POST delete'])
      expect((await shelf.list()).map(({ key }) => key).sort()).toEqual(keys.filter((key) => key.startsWith('in/')).sort())
      expect(await meddler.requestsOf(() => shelf.delete('k'))).toEqual([`DELETE ${shelf.nameOf('k')}`])
      expect(await meddler.requestsOf(() => shelf.delete())).toEqual([])
    })

    test('clear tells progress and is stopped by a signal; it removes as many at once as were listed', async () => {
      const shelf = openPatient()
      let parts = 0
      const controller = new AbortController()
      const progress = (): void => {
        if (++parts === 1) controller.abort(new Error('enough'))
      }
      await expect(shelf.backend.clear(scopeOf('acme'), '', { progress, signal: controller.signal })).rejects.toMatchObject({ message: expect.stringContaining('enough') })
      const left = (await shelf.names()).length
      expect(left).toBeGreaterThan(0)
      parts = 1
      const removal = await meddler.requestsOf(() => shelf.backend.clear(scopeOf('acme'), 'in/', { progress }))
      expect(removal.filter((request) => request === 'POST delete')).toHaveLength(Math.ceil(left / 1000))
      expect(parts).toBeGreaterThan(2)
      expect(await shelf.names()).toEqual([])
    })

    test('clear without a prefix lists everything once, and nothing among the hashed names', async () => {
      const shelf = open()
      await fill(shelf, keys.slice(0, 20))
      const requests = await meddler.requestsOf(() => shelf.clear())
      expect([...requests].sort()).toEqual(['GET list-type', 'POST delete'])
      expect(await shelf.names()).toEqual([])
    })
  })

  test("with detail each entry's end is asked for, sixteen at once at most; what is not ours is left out", async () => {
    const shelf = open()
    await Promise.all(Array.from({ length: 60 }, (_, i) => shelf.put(`k${i}`, 'xx', { keepMs: 60_000 + i })))
    await shelf.putPlain(shelf.nameOf('foreign'), 'x')
    let [now, most] = [0, 0]
    meddler.meddle = async ({ method }) => {
      if (method !== 'HEAD') return undefined
      most = Math.max(most, ++now)
      await new Promise((resolve) => setTimeout(resolve, 5))
      now--
      return undefined
    }
    const infos = await shelf.list('', 'info')
    expect(infos).toHaveLength(60)
    expect(infos.every(({ expiresAt, size }) => Number.isInteger(expiresAt) && size === 2)).toBe(true)
    expect(most).toBeGreaterThan(4)
    expect(most).toBeLessThanOrEqual(16)
  })

  test('keys whose names are hashed are listed, and cleared by their prefix, after a look at each', async () => {
    const shelf = open()
    for (const key of [LONG, `other/${'x'.repeat(1000)}`, 'deep/short', 'other/short']) await shelf.put(key, key)
    expect((await shelf.names()).filter((name) => name.includes('~long/'))).toHaveLength(2)
    expect((await shelf.list('deep/')).map(({ key }) => key).sort()).toEqual([LONG, 'deep/short'].sort())
    expect((await shelf.list('', 'info')).map(({ key }) => key)).toHaveLength(4)
    expect(String(await shelf.get(LONG))).toBe(LONG)
    await shelf.clear('deep/')
    expect((await shelf.list()).map(({ key }) => key).sort()).toEqual(['other/short', `other/${'x'.repeat(1000)}`].sort())
    await shelf.clear()
    expect(await shelf.names()).toEqual([])
  })

  test('what others have put under names that no key has goes only with the whole tenant', async () => {
    const shelf = open()
    await shelf.putPlain(shelf.nameOf('docs/*'), 'x')
    await shelf.put('docs/a', 'x')
    expect((await shelf.list('docs/')).map(({ key }) => key)).toEqual(['docs/a'])
    await shelf.clear('docs/')
    expect(await shelf.names()).toEqual([shelf.nameOf('docs/*')])
    await shelf.clear()
    expect(await shelf.names()).toEqual([])
  })

  test("neighbours are not touched: another tenant's, another prefix's, and what lies beside tenants/", async () => {
    const shelf = open()
    const neighbour = open(`${shelf.prefix}-too`)
    await shelf.put('k', 'x', { tenant: 'acme' })
    await shelf.put('k', 'x', { tenant: 'acme2' })
    await neighbour.put('k', 'x')
    await shelf.putPlain(`${shelf.prefix}/readme`, 'x')
    await shelf.clear()
    expect((await shelf.names()).sort()).toEqual([`${shelf.prefix}/readme`, `${shelf.prefix}/tenants/acme2/k`])
    expect(await neighbour.names()).toHaveLength(1)
  })

  describe('removals of which the store refuses some (answers of our own)', () => {
    const refuse = (...codes: string[]): void => {
      meddler.meddle = ({ method, query }) =>
        method === 'POST' && query.has('delete')
          ? { status: 200, body: `<?xml version="1.0"?><DeleteResult>${codes.map((code) => `<Error><Key>a</Key><Code>${code}</Code><Message>not now</Message></Error>`).join('')}</DeleteResult>` }
          : undefined
    }

    test('say how many, and the first reason', async () => {
      const shelf = open()
      refuse('AccessDenied', 'InternalError')
      await expect(shelf.delete('a', 'b', 'c')).rejects.toMatchObject({ code: 'access-denied', retryable: false, operation: 'delete', message: expect.stringMatching(/2 of 3 objects, the first with AccessDenied: not now/) })
      refuse('InternalError')
      await expect(shelf.delete('a', 'b', 'c')).rejects.toMatchObject({ code: 'unavailable', retryable: true })
      refuse('SlowDown')
      await fill(shelf, ['a', 'b'])
      await expect(shelf.clear()).rejects.toMatchObject({ code: 'throttled', retryable: true, operation: 'clear' })
    })

    test('what was not there is no failure', async () => {
      const shelf = open()
      refuse('NoSuchKey')
      await shelf.delete('a', 'b')
    })
  })
})
