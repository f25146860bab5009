import { writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { Storage } from '@google-cloud/storage'
import { validateKey } from '@thermocline/backend'
import { GcsBackend, type GcsClient } from '@thermocline/gcs'
import { FakeClock } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { secretsIn } from '../../../test/support/secrets-in.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { onStrictServer, scopeOf, type Stage } from './support/shelf.js'
import type { StrictGcsServer } from '../../../test/support/gcs/index.js'

/** A client whose credentials are a token. */
function clientOf({ server }: Stage, token: string): GcsClient {
  return { apiEndpoint: server.endpoint, customEndpoint: true, useAuthWithCustomEndpoint: true, authClient: { getRequestHeaders: async () => ({ Authorization: `Bearer ${token}` }) } }
}

function guarded(stage: Stage<StrictGcsServer>): void {
  stage.server.tokens = { all: 'owner', some: 'reader', none: 'stranger' }
  afterwards(() => (stage.server.tokens = undefined))
}

onStrictServer('rights', (stage) => {
  test('who may do everything is not troubled', async () => {
    guarded(stage)
    const shelf = stage.shelf({ client: clientOf(stage, 'all') })
    await shelf.put('k', 'v')
    expect(await shelf.text('k')).toBe('v')
    expect(await shelf.get('absent')).toBeUndefined()
    expect(shelf.reports).toEqual([])
  })

  test('a wrong token, or none, is access-denied to every verb', async () => {
    guarded(stage)
    for (const shelf of [stage.shelf({ client: clientOf(stage, 'wrong') }), stage.shelf()]) {
      for (const refused of [shelf.get('k'), shelf.holds('k'), shelf.put('k', 'v'), shelf.delete('k'), shelf.clear(), shelf.list()]) await expect(refused).rejects.toMatchObject({ code: 'access-denied', retryable: false })
    }
  })

  test('a token or key that is refused stands in nothing that is handed out', async () => {
    guarded(stage)
    const secret = 'ya29.hunter2hunter2'
    const shelf = stage.shelf({ client: clientOf(stage, secret) })
    const thrown = await Promise.all([shelf.get('k'), shelf.holds('k'), shelf.put('k', 'v'), shelf.delete('k'), shelf.clear(), shelf.list()].map((verb) => verb.then(() => 'it resolved', (error: unknown) => error)))
    expect(secretsIn([thrown, shelf.reports], [secret])).toEqual([])
    const key = { type: 'service_account', client_email: 'a@b.iam.gserviceaccount.com', private_key: '-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n' }
    const file = path.join(temporaryDirectory(), 'key.json')
    writeFileSync(file, JSON.stringify(key).slice(0, -3))
    for (const options of [{ credentials: key }, { keyFilename: file }]) {
      const other = stage.shelf({ ...options, anonymous: false })
      const error: unknown = await other.get('k').then(() => 'it resolved', (reason: unknown) => reason)
      expect(error).toMatchObject({ name: 'CacheError' })
      expect(secretsIn([error, other.reports], ['hunter2hunter2'])).toEqual([])
    }
  })

  test('who may not list gets misses for what is not there, and is told once what to grant', async () => {
    guarded(stage)
    const all = stage.shelf({ client: clientOf(stage, 'all') })
    const shelf = stage.shelf({ client: clientOf(stage, 'some'), prefix: all.prefix })
    await all.put('there', 'v')
    const before = stage.server.requests.length
    const misses = await Promise.all([shelf.get('absent'), shelf.get('absent too'), shelf.entry('absent', { want: 'head' })])
    expect(misses).toEqual([undefined, undefined, undefined])
    expect(stage.server.requests.length - before).toBe(5) // the three, and two to find out
    expect(await shelf.text('there')).toBe('v')
    expect(await shelf.get('absent')).toBeUndefined()
    expect(stage.server.requests.length - before).toBe(7)
    expect(shelf.codes).toEqual(['access-denied'])
    expect(shelf.reports[0]!.message).toContain('grant storage.objects.list')
    await expect(shelf.put('k', 'v')).rejects.toMatchObject({ code: 'access-denied' })
    await expect(shelf.list()).rejects.toMatchObject({ code: 'access-denied' })
  })

  test('a 403 from who may list is what it says; believed for a minute', async () => {
    const clock = new FakeClock()
    const shelf = stage.shelf({}, clock)
    const refuse = (): void => stage.server.faults.error(403, { of: 'objects.download' })
    for (const asked of [3, 1]) {
      refuse()
      const before = stage.server.requests.length
      await expect(shelf.get('k')).rejects.toMatchObject({ code: 'access-denied' })
      expect(stage.server.requests.length - before).toBe(asked)
    }
    await clock.advance(61_000)
    refuse()
    const before = stage.server.requests.length
    await expect(shelf.get('k')).rejects.toMatchObject({ code: 'access-denied' })
    expect(stage.server.requests.length - before).toBe(3)
    expect(shelf.reports).toEqual([])
  })

  test('when it cannot be found out, the 403 stands, and is found out the next time', async () => {
    guarded(stage)
    const shelf = stage.shelf({ client: clientOf(stage, 'some') })
    stage.server.faults.error(503, { of: 'objects.list' })
    await expect(shelf.get('absent')).rejects.toMatchObject({ code: 'access-denied' })
    expect(await shelf.get('absent')).toBeUndefined()
  })
})

onStrictServer('credentials', (stage) => {
  const lookUp = (backend: GcsBackend, signal?: AbortSignal): Promise<unknown> => backend.get(scopeOf('acme'), validateKey('k'), { want: 'payload', touch: true, signal })

  /** A service that gives tokens for tokens, as workload identity federation has it. */
  async function startTokenService(answer: (response: http.ServerResponse) => void): Promise<{ readonly url: string; readonly asked: () => number }> {
    let asked = 0
    const port = await freePort()
    const server = http.createServer((_, response) => {
      asked++
      answer(response)
    })
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    afterwards(() => {
      server.closeAllConnections()
      server.close()
    })
    return { url: `http://127.0.0.1:${port}/token`, asked: () => asked }
  }

  function accountOf(url: string): Record<string, unknown> {
    const file = path.join(temporaryDirectory(), 'subject')
    writeFileSync(file, 'who I am')
    return { type: 'external_account', audience: '//iam.googleapis.com/x', subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_url: url, credential_source: { file } }
  }

  const give = (response: http.ServerResponse): void => void response.setHeader('content-type', 'application/json').end(JSON.stringify({ access_token: 'all', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }))

  test('are found with the first request, kept, and sent with each', async () => {
    guarded(stage)
    const tokens = await startTokenService(give)
    const shelf = stage.shelf({ credentials: accountOf(tokens.url) })
    expect(tokens.asked()).toBe(0)
    await shelf.put('k', 'v')
    expect(await shelf.text('k')).toBe('v')
    expect(tokens.asked()).toBe(1)
    expect(stage.server.requests.at(-1)!.headers.authorization).toBe('Bearer all')
  })

  test('are read from a file', async () => {
    guarded(stage)
    const tokens = await startTokenService(give)
    const keyFilename = path.join(temporaryDirectory(), 'account.json')
    writeFileSync(keyFilename, JSON.stringify(accountOf(tokens.url)))
    const shelf = stage.shelf({ keyFilename })
    await shelf.put('k', 'v')
    expect(await shelf.text('k')).toBe('v')
  })

  test('that cannot be had are access-denied, and looked for again', async () => {
    guarded(stage)
    let isRefused = true
    const tokens = await startTokenService((response) => (isRefused ? response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant","error_description":"no"}') : give(response)))
    const shelf = stage.shelf({ credentials: accountOf(tokens.url) })
    await expect(shelf.get('k')).rejects.toMatchObject({ code: 'access-denied' })
    isRefused = false
    expect(await shelf.get('k')).toBeUndefined()
    await expect(stage.shelf({ keyFilename: '/nowhere/account.json' }).get('k')).rejects.toMatchObject({ code: 'access-denied' })
  })

  test('that do not come hold nobody whose signal is aborted', async () => {
    const tokens = await startTokenService(() => undefined)
    const shelf = stage.shelf({ credentials: accountOf(tokens.url) })
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('enough')), 300)
    await expect(shelf.get('k', { signal: controller.signal })).rejects.toMatchObject({ code: 'failed', cause: { message: 'enough' } })
  })

  test("a client of the user's gives address and credentials, and works on after the backend is closed", async () => {
    guarded(stage)
    const tokens = await startTokenService(give)
    const client = new Storage({ ...stage.server.storageOptions(), credentials: accountOf(tokens.url), useAuthWithCustomEndpoint: true })
    const shelf = stage.shelf({ client })
    await shelf.put('k', 'v')
    await shelf.close()
    const [exists] = await client.bucket(stage.bucket).file(shelf.nameOf('k')).exists()
    expect(exists).toBe(true)
  })

  test('an emulator is told none, and STORAGE_EMULATOR_HOST is the address where none is given', async () => {
    const before = process.env['STORAGE_EMULATOR_HOST']
    afterwards(() => {
      if (before === undefined) delete process.env['STORAGE_EMULATOR_HOST']
      else process.env['STORAGE_EMULATOR_HOST'] = before
    })
    for (const host of [stage.server.endpoint, `127.0.0.1:${stage.server.port}`]) {
      process.env['STORAGE_EMULATOR_HOST'] = host
      const backend = new GcsBackend({ bucket: stage.bucket })
      expect(await lookUp(backend)).toBeUndefined()
      expect(stage.server.requests.at(-1)!.headers.authorization).toBeUndefined()
      await backend[Symbol.asyncDispose]()
    }
  })
})
