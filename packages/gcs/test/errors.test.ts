import { describe, expect, test } from '@jest/globals'
import { systemClock, validateKey } from '@thermocline/backend'
import { retry } from '@thermocline/core'
import { asGcsError, Refusal } from '../src/errors.js'
import { onStrictServer, scopeOf } from './support/shelf.js'

const jsonBody = (status: number, reason: string, message: string): string => JSON.stringify({ error: { code: status, message, errors: [{ message, domain: 'global', reason }] } })
const coded = (code: string, message = ''): Error => Object.assign(new Error(message), { code })

describe('what a failure means', () => {
  test.each<[error: unknown, code: string, retryable: boolean]>([
    [Refusal.of(404, jsonBody(404, 'notFound', 'The specified bucket does not exist.')), 'bucket-missing', false],
    [Refusal.of(404, '<Error><Code>NoSuchBucket</Code></Error>'), 'bucket-missing', false],
    [Refusal.of(404, jsonBody(404, 'notFound', 'No such object: b/The specified bucket does not exist.')), 'failed', false],
    [Refusal.of(403, jsonBody(403, 'forbidden', 'x does not have storage.objects.create access')), 'access-denied', false],
    [Refusal.of(401, jsonBody(401, 'authError', 'Invalid Credentials')), 'access-denied', false],
    [Refusal.of(403, '<Error><Code>RequestTimeTooSkewed</Code></Error>'), 'clock-skew', false],
    [Refusal.of(403, jsonBody(403, 'userRateLimitExceeded', 'slower')), 'throttled', true],
    [Refusal.of(429, jsonBody(429, 'rateLimitExceeded', 'slower')), 'throttled', true],
    [Refusal.of(503, '<Error><Code>SlowDown</Code></Error>'), 'throttled', true],
    [Refusal.of(503, jsonBody(503, 'backendError', 'later')), 'unavailable', true],
    [Refusal.of(500, ''), 'unavailable', true],
    [Refusal.of(408, ''), 'unavailable', true],
    [Refusal.of(501, ''), 'unavailable', false],
    [Refusal.of(409, jsonBody(409, 'conflict', 'edited')), 'failed', true],
    [Refusal.of(400, '<html>no</html>'), 'failed', false],
    [coded('ECONNREFUSED'), 'unavailable', true],
    [coded('ECONNRESET', 'socket hang up'), 'unavailable', true],
    [coded('ENOTFOUND'), 'unavailable', true],
    [coded('ETIMEDOUT'), 'unavailable', true],
    [new Error('Could not load the default credentials. Browse to https://cloud.google.com/docs/authentication'), 'access-denied', false],
    [new Error('invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.'), 'clock-skew', false],
    ['text', 'failed', false],
    [null, 'failed', false],
  ])('%p is %s', (error, code, retryable) => {
    expect(asGcsError(error, { operation: 'get', tenant: 'acme', key: 'k' })).toMatchObject({ code, retryable, operation: 'get', backend: 'gcs', tenant: 'acme', key: 'k', cause: expect.any(Error) as unknown })
  })

  test('an error says what, where and what to do', () => {
    expect(asGcsError(Refusal.of(404, '<Error><Code>NoSuchBucket</Code><Message>There is none</Message></Error>'), { operation: 'put' }).message).toBe('put on gcs failed: There is none (create the bucket, or correct its name)')
    expect(asGcsError(coded('ECONNREFUSED'), { operation: 'put' }).message).toBe('put on gcs failed: ECONNREFUSED')
  })

  test('a call whose chunks are used up is not made again', () => {
    expect(asGcsError(Refusal.of(503, ''), { operation: 'put' }, false)).toMatchObject({ code: 'unavailable', retryable: false })
  })
})

onStrictServer('verbs', (stage) => {
  test('a bucket that is not there is told by each, and never a miss', async () => {
    const shelf = stage.shelf({ bucket: 'thermocline-absent' })
    const missing = { code: 'bucket-missing', retryable: false }
    await expect(shelf.get('k')).rejects.toMatchObject({ ...missing, operation: 'get', key: 'k' })
    await expect(shelf.holds('k')).rejects.toMatchObject(missing)
    await expect(shelf.put('k', 'v')).rejects.toMatchObject({ ...missing, operation: 'put' })
    await expect(shelf.put('k', 'v', { onlyIfAbsent: true })).rejects.toMatchObject(missing)
    await expect(shelf.delete('k')).rejects.toMatchObject({ ...missing, operation: 'delete', key: 'k' })
    await expect(shelf.clear()).rejects.toMatchObject({ ...missing, operation: 'clear' })
    await expect(shelf.list()).rejects.toMatchObject({ ...missing, operation: 'list' })
  })

  test('deleting what is not there says so; what was there, nobody knows whether it was over', async () => {
    const shelf = stage.shelf()
    await shelf.put('a', 'v')
    expect(await shelf.delete('a', 'b')).toBeUndefined()
    expect(await shelf.delete('a', 'b')).toBe(0)
    expect(await shelf.delete()).toBe(0)
    await shelf.put('a', 'v')
    expect(await shelf.clear()).toBeUndefined()
    expect(await shelf.clear()).toBe(0)
  })

  test('a deletion that fails in part removes the rest, and says how many and the first', async () => {
    const shelf = stage.shelf()
    const keys = Array.from({ length: 100 }, (_, i) => `k${i}`)
    await Promise.all(keys.map((key) => shelf.put(key, 'v')))
    stage.server.faults.error(503, { of: 'objects.delete', times: 3 })
    await expect(shelf.delete(...keys)).rejects.toMatchObject({ code: 'unavailable', retryable: true, message: expect.stringMatching(/^delete on gcs failed for 3 of 100 objects, the first with: .*injected 503/) as unknown })
    expect(await shelf.list()).toHaveLength(3)
    stage.server.faults.error(403, { of: 'objects.delete' })
    await expect(shelf.clear()).rejects.toMatchObject({ code: 'access-denied', message: expect.stringContaining('clear on gcs failed for 1 of 3 objects') as unknown })
    expect(await shelf.list()).toHaveLength(1)
  })

  test('writes of one object in quick succession are throttled, which is worth another attempt', async () => {
    const shelf = stage.shelf()
    stage.server.writeIntervalMs = 150
    try {
      await shelf.put('k', 'first')
      await expect(shelf.put('k', 'second')).rejects.toMatchObject({ code: 'throttled', retryable: true })
      await expect(shelf.delete('k')).rejects.toMatchObject({ code: 'throttled', retryable: true })
      const layered = retry({ clock: systemClock, attempts: 20, baseDelayMs: 10 })(shelf.backend)
      expect(await layered.delete(scopeOf('acme'), [validateKey('k')], {})).toBeUndefined()
      expect(await shelf.get('k')).toBeUndefined()
    } finally {
      stage.server.writeIntervalMs = undefined
    }
  })

  test('what has been closed says so, also to what was under way', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'v')
    stage.server.faults.hang(-1, { of: 'objects.download' })
    const hanging = shelf.get('k')
    hanging.catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 30))
    await shelf.close()
    await expect(hanging).rejects.toMatchObject({ code: 'closed' })
    for (const late of [shelf.get('k'), shelf.put('k', 'v'), shelf.delete('k'), shelf.clear(), shelf.list()]) await expect(late).rejects.toMatchObject({ code: 'closed' })
    await shelf.backend[Symbol.asyncDispose]()
  })
})
