import { describe, expect, test } from '@jest/globals'
import { asCacheError, CacheError } from '@thermocline/backend'
import { plainCause, scrubbed } from '../src/errors/plain-cause.js'
import { secretsIn } from '../../../test/support/secrets-in.js'

const SECRET = 'hunter2hunter2'

describe('the cause of a CacheError', () => {
  test('has name, message, code and stack of what was thrown, and nothing else', () => {
    const thrown = Object.assign(new RangeError(`no route to redis://me:${SECRET}@host:1/0`), { code: 'EHOSTUNREACH', command: { args: [SECRET] }, [Symbol('config')]: { Authorization: SECRET } })
    Object.defineProperty(thrown, 'hidden', { value: { password: SECRET }, enumerable: false })
    thrown.cause = new Error(SECRET)
    for (const error of [new CacheError('failed', 'x', { operation: 'get', cause: thrown }), asCacheError(thrown, { operation: 'get' })]) {
      expect(error.cause).toBeInstanceOf(Error)
      expect(error.cause).toMatchObject({ name: 'RangeError', message: 'no route to redis://***@host:1/0', code: 'EHOSTUNREACH' })
      expect((error.cause as Error).stack).toContain('plain-cause.test')
      expect(Reflect.ownKeys(error.cause as Error).sort()).toEqual(['code', 'message', 'name', 'stack'])
      expect(secretsIn(error, [SECRET])).toEqual([])
    }
  })

  test('is plain whatever was thrown', () => {
    const odd = Object.defineProperty({}, 'message', { get: () => { throw new Error('no') } })
    for (const thrown of ['text', 7, null, undefined, Symbol('s'), {}, Object.create(null), odd]) expect(plainCause(thrown)).toBeInstanceOf(Error)
    expect(plainCause(new AggregateError([new Error(SECRET)], ''))).not.toHaveProperty('errors')
  })

  test('that is a CacheError stays', () => {
    const inner = new CacheError('timeout', 'late', { operation: 'get' })
    expect(new CacheError('failed', 'x', { operation: 'get', cause: inner }).cause).toBe(inner)
  })
})

test.each([
  `connect to rediss://user:${SECRET}@cache:6380/1 failed`,
  `connect to redis://:${SECRET}@cache failed`,
  `redis://:a@${SECRET}@cache`,
  `ERR unknown command 'AUTH', with args beginning with: 'me' '${SECRET}' `,
  `Unexpected token 'o', "{"private_key":"${SECRET}" is not valid JSON`,
  `Authorization: Bearer ${SECRET}`,
  `https://bucket/x?X-Amz-Signature=${SECRET}&x=1`,
  `{"client_secret":"${SECRET}"}`,
  `password=${SECRET}`,
  `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`,
])('%s is told without its secret', (text) => {
  expect(scrubbed(text)).not.toContain(SECRET)
  expect(scrubbed(text)).toContain('***')
})

test.each(['get on redis failed: connect ECONNREFUSED 127.0.0.1:6379', 'unexpected token at position 3', 'WRONGPASS invalid username-password pair or user is disabled.', 'mail a@b.c'])('%s has none', (text) => {
  expect(scrubbed(text)).toBe(text)
})
