import http from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, jest, test } from '@jest/globals'
import { systemClock, validateKey } from '@thermocline/backend'
import { timeout } from '@thermocline/core'
import { GcsBackend } from '@thermocline/gcs'
import { bytesOf, HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy } from '../../../test/support/proxy.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { onEmulator, onStrictServer, scopeOf, Shelf, type Stage } from './support/shelf.js'

jest.setTimeout(30_000) // megabytes, on a busy machine

const MEGABYTE = 1024 ** 2
const unavailable = { code: 'unavailable', retryable: true }

async function every(shelf: Shelf): Promise<PromiseSettledResult<unknown>[]> {
  return Promise.allSettled([shelf.get('k'), shelf.holds('k'), shelf.put('k', 'v'), shelf.put('k', 'v', { onlyIfAbsent: true }), shelf.delete('k'), shelf.clear(), shelf.list()])
}

describe('a server that is not there', () => {
  test('is unavailable to every verb, at once', async () => {
    const apiEndpoint = `http://127.0.0.1:${await freePort()}`
    const shelf = new Shelf({ storageOptions: () => ({ apiEndpoint, projectId: 'none' }) }, { bucket: 'absent', apiEndpoint })
    const startedAt = performance.now()
    for (const outcome of await every(shelf)) expect(outcome).toMatchObject({ status: 'rejected', reason: unavailable })
    await expect(shelf.put('k', streamOf([patterned(9 * MEGABYTE)]))).rejects.toMatchObject({ code: 'unavailable', retryable: false })
    expect(performance.now() - startedAt).toBeLessThan(2000)
  })

  test('a name that does not resolve is unavailable too', async () => {
    const backend = new GcsBackend({ bucket: 'absent', apiEndpoint: 'http://thermocline.invalid' })
    await expect(backend.get(scopeOf('acme'), validateKey('k'), { want: 'payload', touch: true })).rejects.toMatchObject(unavailable)
    await backend[Symbol.asyncDispose]()
  })
})

function brokenNetwork(stage: Stage): void {
  const behind = async (): Promise<{ shelf: Shelf; proxy: Awaited<ReturnType<typeof startProxy>> }> => {
    const proxy = await startProxy(stage.server.port)
    return { shelf: stage.shelf({ apiEndpoint: `http://127.0.0.1:${proxy.port}` }), proxy }
  }

  test('a connection that is reset in mid-body is unavailable, as payload and as stream', async () => {
    const { shelf, proxy } = await behind()
    await shelf.put('k', patterned(3 * MEGABYTE))
    await shelf.holds('k')
    if (stage.kind === 'emulator') await shelf.get('k') // it asks for the metadata first, from now on
    for (const read of [() => shelf.get('k'), async () => bytesOf(await shelf.stream('k'))]) {
      await proxy.resetMidReply(MEGABYTE)
      await expect(read()).rejects.toMatchObject(unavailable)
    }
    expect((await shelf.get('k'))!.equals(patterned(3 * MEGABYTE))).toBe(true)
    expect(shelf.reports).toEqual([])
  })

  test('a black hole holds nobody whose signal is aborted, and no connection', async () => {
    const { shelf, proxy } = await behind()
    await shelf.put('k', 'v')
    await proxy.blackHole()
    const scope = scopeOf('acme')
    const key = validateKey('k')
    const timed = timeout({ clock: systemClock, budgetMs: 150 })(shelf.backend)
    const failures = await Promise.allSettled([
      timed.get(scope, key, { want: 'payload', touch: true }),
      timed.get(scope, key, { want: 'head', touch: true }),
      timed.getMany(scope, Array.from({ length: 50 }, (_, i) => validateKey(`${i}`)), { want: 'payload', touch: true }),
      timed.delete(scope, Array.from({ length: 50 }, (_, i) => validateKey(`${i}`)), {}),
      timed.clear(scope, '', {}),
    ])
    for (const failure of failures) expect(failure).toMatchObject({ status: 'rejected', reason: { code: 'timeout' } })
    await proxy.pass()
    await until('all connections are given up', () => proxy.connections <= 2)
    expect(await shelf.text('k')).toBe('v')
  })

  test('connections that were reset while nobody used them cost one attempt at most', async () => {
    const { shelf, proxy } = await behind()
    await Promise.all(Array.from({ length: 20 }, (_, i) => shelf.put(`k${i}`, 'v')))
    proxy.reset()
    const outcomes = await Promise.allSettled([shelf.get('k0')])
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome).toMatchObject({ reason: unavailable })
    expect(await shelf.text('k0')).toBe('v')
  })
}

onEmulator('on the emulator', (stage) => {
  brokenNetwork(stage)

  test('a server that has stopped answers nobody, and everybody again when it goes on', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'v')
    stage.server.pause()
    try {
      const controller = new AbortController()
      const reading = shelf.get('k', { signal: controller.signal })
      setTimeout(() => controller.abort(new Error('enough')), 100)
      await expect(reading).rejects.toMatchObject({ code: 'failed', cause: { message: 'enough' } })
      await expect(shelf.get('k')).rejects.toMatchObject({ ...unavailable, message: expect.stringContaining('silent') as unknown }) // after six seconds
    } finally {
      stage.server.resume()
    }
    expect(await shelf.text('k')).toBe('v')
  }, 20_000)
})

onStrictServer('on the strict server', (stage) => {
  brokenNetwork(stage)

  test.each([500, 502, 503, 504, 408])('%d is unavailable to every verb', async (status) => {
    const shelf = stage.shelf()
    stage.server.faults.error(status, { times: 20 })
    for (const outcome of await every(shelf)) expect(outcome).toMatchObject({ status: 'rejected', reason: unavailable })
    stage.server.faults.clear()
  })

  test('a body that ends early is unavailable, and the object stays', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', patterned(MEGABYTE))
    for (const afterBytes of [0, 100, 500_000]) {
      stage.server.faults.truncate(afterBytes, { of: 'objects.download', times: 2 })
      await expect(shelf.get('k')).rejects.toMatchObject(unavailable)
      await expect(bytesOf(await shelf.stream('k'))).rejects.toMatchObject(unavailable)
    }
    expect((await shelf.get('k'))!.byteLength).toBe(MEGABYTE)
    expect(shelf.reports).toEqual([])
  })

  test('a head or a page that ends early is unavailable', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'v')
    stage.server.faults.truncate(5, { times: 3 })
    await expect(shelf.holds('k')).rejects.toMatchObject(unavailable)
    await expect(shelf.list()).rejects.toMatchObject(unavailable)
    await expect(shelf.clear()).rejects.toMatchObject(unavailable)
  })

  test('bytes that change on the way are corrupt', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', patterned(MEGABYTE))
    stage.server.faults.corrupt({ of: 'objects.download' })
    expect(await shelf.get('k')).toBeUndefined()
    expect(shelf.codes).toEqual(['corrupt'])
  })

  test('a body that hangs is given up with the signal, and its connection is free', async () => {
    const shelf = stage.shelf({ maxSockets: 1 })
    await shelf.put('k', patterned(MEGABYTE))
    for (const want of ['payload', 'stream'] as const) {
      stage.server.faults.hang(1000, { of: 'objects.download' })
      const controller = new AbortController()
      const reading = want === 'payload' ? shelf.get('k', { signal: controller.signal }) : shelf.stream('k', { signal: controller.signal }).then(bytesOf)
      setTimeout(() => controller.abort(new Error('enough')), 50)
      await expect(reading).rejects.toMatchObject({ code: 'failed', cause: { message: 'enough' } })
    }
    stage.server.faults.clear() // on a busy machine a request may have been left before it came to the server
    expect((await shelf.get('k'))!.byteLength).toBe(MEGABYTE)
  })

  test('a body that hangs is given up after six seconds by itself; a reader who takes longer is not', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', patterned(MEGABYTE))
    stage.server.faults.hang(1000, { of: 'objects.download' })
    const hanging = shelf.get('k')
    const slow = (await shelf.stream('k')).chunks()[Symbol.asyncIterator]()
    const first = (await slow.next()) as IteratorResult<Uint8Array, undefined>
    await expect(hanging).rejects.toMatchObject({ ...unavailable, message: expect.stringContaining('silent') as unknown })
    await new Promise((resolve) => setTimeout(resolve, 700)) // seven seconds since the first chunk, or nearly
    let bytes = first.value!.byteLength
    for (let step = (await slow.next()) as IteratorResult<Uint8Array, undefined>; step.done !== true; step = (await slow.next()) as IteratorResult<Uint8Array, undefined>) bytes += step.value.byteLength
    expect(bytes).toBe(MEGABYTE)
  }, 20_000)

  test('a source that takes longer than six seconds is waited for', async () => {
    const shelf = stage.shelf()
    const sources = [1000, 9 * MEGABYTE].map((size, i) => {
      const source = new HandFedStream()
      return { source, size, putting: shelf.put(`k${i}`, source), given: source.give(patterned(size)) }
    })
    await Promise.all(sources.map(({ given }) => given))
    await new Promise((resolve) => setTimeout(resolve, 6500))
    for (const { source } of sources) source.end()
    expect(await Promise.all(sources.map(({ putting }) => putting))).toEqual([true, true])
    for (const [i, { size }] of sources.entries()) expect((await shelf.get(`k${i}`))!.byteLength).toBe(size)
  }, 20_000)

  test.each([
    ['is known', { byteLength: 12 * MEGABYTE, crc32: 1 }],
    ['is not known', {}],
  ])('an upload whose length %s leaves nothing when its source throws, is aborted, or its connection breaks', async (_, known) => {
    const shelf = stage.shelf()
    await shelf.put('k', 'old')
    const begin = async (signal?: AbortSignal): Promise<{ source: HandFedStream; putting: Promise<boolean> }> => {
      const source = new HandFedStream(known)
      const putting = shelf.put('k', source, signal === undefined ? {} : { signal })
      putting.catch(() => undefined)
      for (let i = 0; i < 10; i++) await source.give(patterned(MEGABYTE))
      await until('a session is open', () => stage.server.openUploads === 1)
      return { source, putting }
    }
    const thrown = await begin()
    thrown.source.fail(new Error('the source broke'))
    await expect(thrown.putting).rejects.toMatchObject({ code: 'failed', retryable: false, cause: { message: 'the source broke' } })
    expect([stage.server.openUploads, thrown.source.isReleased]).toEqual([0, true])

    const controller = new AbortController()
    const aborted = await begin(controller.signal)
    controller.abort(new Error('enough'))
    await expect(aborted.putting).rejects.toMatchObject({ code: 'failed', cause: { message: 'enough' } })
    expect([stage.server.openUploads, aborted.source.isReleased]).toEqual([0, true])

    stage.server.faults.cutUpload(1000, { of: 'uploads.put' })
    const source = new HandFedStream(known)
    const cut = shelf.put('k', source)
    cut.catch(() => undefined)
    for (let i = 0; i < 12; i++) await Promise.race([source.give(patterned(MEGABYTE)), cut.catch(() => undefined)])
    source.end()
    await expect(cut).rejects.toMatchObject({ code: expect.stringMatching(/^(unavailable|corrupt)$/) as unknown, retryable: false })
    await until('its session is ended', () => stage.server.openUploads === 0)
    expect(await shelf.text('k')).toBe('old')
    expect(await shelf.names()).toHaveLength(1)
  })

  test('an upload that is refused in the middle is refused with what the server said', async () => {
    const shelf = stage.shelf()
    stage.server.faults.error(503, { of: 'uploads.put' })
    await expect(shelf.put('k', streamOf([patterned(9 * MEGABYTE)]))).rejects.toMatchObject({ code: 'unavailable', retryable: false, message: expect.stringContaining('injected 503') as unknown })
    expect(stage.server.openUploads).toBe(0)
    stage.server.faults.error(403, { of: 'uploads.start' })
    await expect(shelf.put('k', streamOf([patterned(9 * MEGABYTE)]))).rejects.toMatchObject({ code: 'access-denied' })
    expect(await shelf.names()).toEqual([])
  })

  test('a chunk that is late is not lost: progress is told, and sources are not read ahead', async () => {
    const shelf = stage.shelf()
    let progress = 0
    await shelf.put('k', streamOf(Array.from({ length: 12 }, () => patterned(MEGABYTE))), { progress: () => progress++ })
    expect(progress).toBeGreaterThanOrEqual(12)
    progress = 0
    await shelf.get('k', { progress: () => progress++ })
    expect(progress).toBeGreaterThan(10)
    progress = 0
    await bytesOf(await shelf.stream('k', { progress: () => progress++ }))
    expect(progress).toBeGreaterThan(10)
  })

  test('a proxy that lets the service unpack is found out, and the entry is safe', async () => {
    const shelf = stage.shelf({ apiEndpoint: await startMeddler(stage.server.port, { request: (headers) => delete headers['accept-encoding'] }) })
    const packed = gzipSync('a text, '.repeat(1000))
    await shelf.put('k', packed, { codec: 'utf8+gzip' })
    await expect(shelf.get('k')).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining('unpacks') as unknown })
    await expect(shelf.stream('k')).rejects.toMatchObject({ code: 'failed' })
    expect((await shelf.object('k'))!.body.equals(packed)).toBe(true)
    expect(shelf.reports).toEqual([])
  })

  const isMetadata = (name: string): boolean => name.startsWith('x-goog-meta-') || name.startsWith('x-goog-stored-')

  test('a proxy that takes metadata away costs a request, and never an entry', async () => {
    const shelf = stage.shelf({ apiEndpoint: await startMeddler(stage.server.port, { isLeftOut: isMetadata }) })
    await shelf.put('k', 'value')
    for (let i = 0; i < 2; i++) expect(await shelf.text('k')).toBe('value')
    expect(stage.server.requests.slice(-5).map(({ operation }) => operation)).toEqual(['objects.download', 'objects.get', 'objects.download', 'objects.get', 'objects.download'])
    expect((await bytesOf(await shelf.stream('k'))).toString()).toBe('value')
    expect(await shelf.get('absent')).toBeUndefined()
    expect(shelf.reports).toEqual([])
  })

  test('an object that changes between the two requests is read anew, and not for ever', async () => {
    const others = stage.shelf()
    let changes = 0
    const request = async (_: unknown, path: string): Promise<void> => {
      if (path.startsWith(`/${stage.bucket}/`) && changes > 0) await others.put('k', `v${changes--}`)
    }
    const shelf = stage.shelf({ prefix: others.prefix, apiEndpoint: await startMeddler(stage.server.port, { request, isLeftOut: isMetadata }) })
    await others.put('k', 'v0')
    expect(await shelf.text('k')).toBe('v0')
    changes = 2
    expect(await shelf.text('k')).toBe('v1')
    changes = 3
    await expect(shelf.get('k')).rejects.toMatchObject(unavailable)
    expect(shelf.reports).toEqual([])
  })
})

interface Meddling {
  /** Before a request is forwarded; may change its headers. */
  readonly request?: (headers: http.OutgoingHttpHeaders, path: string) => unknown
  /** Headers of answers that do not arrive. */
  readonly isLeftOut?: (name: string) => boolean
}

/** A proxy that knows HTTP and changes it. Returns its address. */
async function startMeddler(port: number, { request: change, isLeftOut = () => false }: Meddling): Promise<string> {
  const forward = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const headers: http.OutgoingHttpHeaders = { ...request.headers }
    await change?.(headers, request.url ?? '')
    const forwarded = http.request({ port, host: '127.0.0.1', method: request.method, path: request.url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !isLeftOut(name))))
      answer.pipe(response)
    })
    request.pipe(forwarded)
  }
  const server = http.createServer((request, response) => void forward(request, response))
  const listening = await freePort()
  await new Promise<void>((resolve) => server.listen(listening, '127.0.0.1', resolve))
  afterwards(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${listening}`
}
