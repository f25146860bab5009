import { inspect } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { Storage } from '@google-cloud/storage'
import { GcsBackend, type GcsBackendOptions } from '@thermocline/gcs'
import { checkOptions } from '../src/options.js'

const SECRET = 'hunter2'
const bucket = 'artifacts'

/** What TypeScript would not let pass. */
function made(options: unknown): GcsBackend {
  return new GcsBackend(options as GcsBackendOptions)
}

describe('what is wrong with options', () => {
  const client = new Storage({ apiEndpoint: 'http://127.0.0.1:1' })
  const rule = (rule: object): object => ({ bucket, lifecycleRules: [rule] })
  test.each<[options: unknown, says: RegExp]>([
    ['artifacts', /needs an object .* not string/],
    [null, /needs an object .* not null/],
    [{ bucket, keyFileName: 'key.json' }, /^new GcsBackend\(options\) does not know the option keyFileName; did you mean keyFilename\?/],
    [{}, /^bucket must be the name of a bucket, .* not undefined/],
    [{ bucket: '' }, /^bucket must be .* not an empty string/],
    [{ bucket: 'ab' }, /^bucket must be .* not "ab"/],
    [{ bucket: 'Artifacts' }, /^bucket must be .* not "Artifacts"/],
    [{ bucket: 'a/b/c' }, /^bucket must be/],
    [{ bucket: 1 }, /^bucket must be .* not 1/],
    [{ bucket, projectId: '' }, /^projectId must be a non-empty string, not an empty string/],
    [{ bucket, keyFilename: 1 }, /^keyFilename must be a non-empty string, not 1/],
    [{ bucket, apiEndpoint: 'localhost:4443' }, /^apiEndpoint must be an address without a path/],
    [{ bucket, apiEndpoint: 'http://localhost:4443/storage' }, /^apiEndpoint must be an address without a path/],
    [{ bucket, apiEndpoint: 4443 }, /^apiEndpoint must be .* not 4443/],
    [{ bucket, prefix: 1 }, /^prefix must be a string, not 1/],
    [{ bucket, prefix: 'a\nb' }, /^prefix must be well-formed Unicode without control characters/],
    [{ bucket, prefix: 'a\ud800' }, /^prefix must be well-formed/],
    [{ bucket, prefix: 'a/../b' }, /^prefix must not have segments of dots/],
    [{ bucket, prefix: 'x'.repeat(513) }, /^prefix must be at most 512 UTF-8 bytes, this one has 513/],
    [{ bucket, storageClass: 'GLACIER' }, /^storageClass must be one of STANDARD, .* not "GLACIER"/],
    [{ bucket, storageClass: 1 }, /^storageClass must be .* not 1/],
    [{ bucket, credentials: SECRET }, /^credentials must be an object, .* not string/],
    [{ bucket, credentials: {}, keyFilename: 'x' }, /^give one of credentials and keyFilename/],
    [{ bucket, credentials: {}, anonymous: true }, /^anonymous must not be true together with/],
    [{ bucket, anonymous: 'yes' }, /^anonymous must be true or false, not string/],
    [{ bucket, maxSockets: 0 }, /^maxSockets must be a positive whole number, not 0/],
    [{ bucket, maxSockets: '64' }, /^maxSockets must be .* not string/],
    [{ bucket, client: {} }, /^client must be a Storage of @google-cloud\/storage, not object/],
    [{ bucket, client: 1 }, /^client must be a Storage .* not 1/],
    [{ bucket, client, projectId: 'x', anonymous: true }, /^give projectId, anonymous to the client instead of the backend/],
    [{ bucket, lifecycleRules: {} }, /^lifecycleRules must be a list of rules/],
    [{ bucket, lifecycleRules: [null] }, /^lifecycleRules\[0\] must be a rule/],
    [rule({}), /^lifecycleRules\[0\] must have transitionDays and storageClass, or expirationDays/],
    [rule({ days: 1 }), /^lifecycleRules\[0\] does not know the option days; it knows id, tenant/],
    [rule({ transitionDays: 1 }), /^lifecycleRules\[0\] must have transitionDays and storageClass together/],
    [rule({ storageClass: 'NEARLINE', expirationDays: 3 }), /must have transitionDays and storageClass together/],
    [rule({ transitionDays: 1, storageClass: 'GLACIER' }), /^lifecycleRules\[0\]\.storageClass must be one of STANDARD, .* not GLACIER/],
    [rule({ transitionDays: -1, storageClass: 'NEARLINE' }), /^lifecycleRules\[0\]\.transitionDays must be a whole number of days, at least 0, not -1/],
    [rule({ expirationDays: 0 }), /^lifecycleRules\[0\]\.expirationDays must be .* at least 1, not 0/],
    [rule({ expirationDays: '1' }), /^lifecycleRules\[0\]\.expirationDays must be .* not string/],
    [rule({ expirationDays: 1, prefix: 'a' }), /^lifecycleRules\[0\]\.prefix needs lifecycleRules\[0\]\.tenant beside it/],
    [rule({ expirationDays: 1, tenant: '' }), /^lifecycleRules\[0\]\.tenant: tenant must not be empty/],
    [rule({ expirationDays: 1, tenant: 'a', prefix: 'b/..' }), /^lifecycleRules\[0\]\.prefix must not end in a segment of dots/],
    [rule({ transitionDays: 30, storageClass: 'NEARLINE', expirationDays: 30 }), /^lifecycleRules\[0\]\.expirationDays must be more than transitionDays \(30\), not 30/],
    [rule({ expirationDays: 1, tenant: 1 }), /^lifecycleRules\[0\]\.tenant: tenant must be a string, not the number 1/],
  ])('%p', (options, says) => {
    expect(() => made(options)).toThrow(says)
    expect(() => made(options)).toThrow(expect.objectContaining({ name: 'TypeError' }))
  })

  test('is never told with a secret in it', () => {
    for (const options of [{ bucket, credentials: SECRET }, { bucket, apiEndpoint: `https://u:${SECRET}@x/y` }, { bucket, keyFilename: { [SECRET]: SECRET } }]) {
      expect(() => made(options)).toThrow(expect.not.objectContaining({ message: expect.stringContaining(SECRET) as unknown }))
    }
    expect(inspect(made({ bucket, credentials: { private_key: SECRET } }), { depth: 10 })).not.toContain(SECRET)
  })
})

describe('defaults', () => {
  test('are those of the service', () => {
    const checked = checkOptions({ bucket })
    expect(checked).toMatchObject({ bucket, anonymous: false, maxSockets: 64, storageClass: undefined, lifecycleRules: [], account: {} })
    expect([checked.endpoint.origin, checked.names.root]).toEqual(['https://storage.googleapis.com', 'tenants/'])
  })

  test.each<[options: Omit<GcsBackendOptions, 'bucket'>, anonymous: boolean]>([
    [{ apiEndpoint: 'http://localhost:4443' }, true],
    [{ apiEndpoint: 'http://localhost:4443', credentials: {} }, false],
    [{ apiEndpoint: 'http://localhost:4443', anonymous: false }, false],
    [{ apiEndpoint: 'https://storage.me-central2.rep.googleapis.com' }, false],
    [{ apiEndpoint: 'https://storage.googleapis.com/', anonymous: true }, true],
    [{ client: new Storage({ apiEndpoint: 'http://127.0.0.1:1' }) }, true],
    [{ client: new Storage({ apiEndpoint: 'http://127.0.0.1:1', useAuthWithCustomEndpoint: true }) }, false],
    [{ client: new Storage() }, false],
  ])('requests with %p are anonymous: %p', (options, anonymous) => {
    expect(checkOptions({ bucket, ...options }).anonymous).toBe(anonymous)
  })

  test('an undefined option is one that was not given', () => {
    expect(() => made({ bucket, prefix: undefined, client: undefined, lifecycleRules: undefined, maxSockets: undefined, anonymous: undefined, storageClass: undefined, apiEndpoint: undefined })).not.toThrow()
  })
})
