import { inspect } from 'node:util'
import { S3Client } from '@aws-sdk/client-s3'
import { describe, expect, test } from '@jest/globals'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { checkOptions } from '../src/options.js'

const SECRET = 'hunter2'

/** What TypeScript would not let pass. */
function made(options: unknown): S3Backend {
  return new S3Backend(options as S3BackendOptions)
}

const ok = { bucket: 'b' }

describe('what is wrong with options', () => {
  test.each<[options: unknown, says: RegExp]>([
    [undefined, /needs an object .* not undefined/],
    ['bucket', /needs an object .* not string/],
    [{ buckte: 'b' }, /^new S3Backend\(options\) does not know the option buckte; did you mean bucket\?/],
    [{ ...ok, credentials: { accessKeyId: 'a', secretAccessKey: 'b', sesionToken: 'c' } }, /^credentials does not know the option sesionToken; did you mean sessionToken\?/],
    [{}, /^bucket must be the name of a bucket, not undefined/],
    [{ bucket: '' }, /^bucket must be .* not an empty string/],
    [{ bucket: 1 }, /^bucket must be .* not 1/],
    [{ ...ok, region: '' }, /^region must be a non-empty string, not an empty string/],
    [{ ...ok, region: 1 }, /^region must be .* not 1/],
    [{ ...ok, endpoint: 'localhost:9000' }, /^endpoint must be an address such as http:/],
    [{ ...ok, endpoint: 'ftp://a' }, /^endpoint must be/],
    [{ ...ok, endpoint: 'http://' }, /^endpoint must be/],
    [{ ...ok, endpoint: 9000 }, /^endpoint must be .* not 9000/],
    [{ ...ok, prefix: 1 }, /^prefix must be a string, not 1/],
    [{ ...ok, prefix: 'a\ud800' }, /^prefix must be well-formed/],
    [{ ...ok, prefix: 'a\nb' }, /^prefix must be well-formed Unicode without control/],
    [{ ...ok, prefix: 'a/../b' }, /^prefix must not have segments of dots/],
    [{ ...ok, prefix: 'x'.repeat(513) }, /^prefix must be at most 512 UTF-8 bytes, this one has 513/],
    [{ ...ok, storageClass: '' }, /^storageClass must be a non-empty string/],
    [{ ...ok, forcePathStyle: 'yes' }, /^forcePathStyle must be true or false, not string/],
    [{ ...ok, credentials: 'AKIA' }, /^credentials must be .* not string/],
    [{ ...ok, credentials: { accessKeyId: 'a' } }, /^credentials must be .* not object/],
    [{ ...ok, requestChecksumCalculation: 'NEVER' }, /^requestChecksumCalculation must be WHEN_SUPPORTED or WHEN_REQUIRED, not string/],
    [{ ...ok, responseChecksumValidation: true }, /^responseChecksumValidation must be .* not true/],
    [{ ...ok, serverSideEncryption: 'kms' }, /^serverSideEncryption must be AES256 or aws:kms, not string/],
    [{ ...ok, sseKmsKeyId: 'key' }, /^sseKmsKeyId belongs to serverSideEncryption: 'aws:kms'/],
    [{ ...ok, maxSockets: 0 }, /^maxSockets must be a positive whole number, not 0/],
    [{ ...ok, maxSockets: '64' }, /^maxSockets must be .* not string/],
    [{ ...ok, client: {} }, /^client must be an S3Client of @aws-sdk\/client-s3, not object/],
    [{ ...ok, client: new S3Client({ region: 'us-east-1' }), region: 'eu-west-1' }, /^region may not be given beside client/],
    [{ ...ok, lifecycleRules: {} }, /^lifecycleRules must be a list .* not object/],
    [{ ...ok, lifecycleRules: ['30d'] }, /^lifecycleRules\[0\] must be a rule such as .* not string/],
    [{ ...ok, lifecycleRules: [{ expiration_days: 3 }] }, /^lifecycleRules\[0\] does not know the option expiration_days; did you mean expirationDays\?/],
    [{ ...ok, lifecycleRules: [{}] }, /^lifecycleRules\[0\] must have transitionDays and storageClass, or expirationDays/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 0 }] }, /^lifecycleRules\[0\]\.expirationDays must be a whole number of days, at least 1, not 0/],
    [{ ...ok, lifecycleRules: [{ expirationDays: '30d' }] }, /^lifecycleRules\[0\]\.expirationDays must be .* not string/],
    [{ ...ok, lifecycleRules: [{ transitionDays: 3 }] }, /^lifecycleRules\[0\] must have transitionDays and storageClass together/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, storageClass: 'GLACIER' }] }, /must have transitionDays and storageClass together/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, transitionDays: 3, storageClass: 'GLACIER' }] }, /^lifecycleRules\[0\]\.expirationDays must be more than transitionDays \(3\), not 3/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, prefix: 'frames/' }] }, /^lifecycleRules\[0\]\.prefix needs lifecycleRules\[0\]\.tenant beside it/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, tenant: 'a', prefix: 'frames/..' }] }, /must not end in a segment of dots/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, tenant: '' }] }, /^lifecycleRules\[0\]\.tenant: tenant must not be empty/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, id: 'a b' }] }, /^lifecycleRules\[0\]\.id must be 1 to 100 letters/],
    [{ ...ok, lifecycleRules: [{ expirationDays: 3, id: '2' }, { expirationDays: 4 }] }, /^lifecycleRules must have different ids: "2" is there twice/],
  ])('%j', (options, says) => {
    expect(() => made(options)).toThrow(TypeError)
    expect(() => made(options)).toThrow(says)
  })

  test('never says what is secret, and a backend does not show it either', () => {
    for (const options of [{ bucket: 'b', credentials: SECRET }, { bucket: 'b', credentials: { secretAccessKey: SECRET } }, { bucket: 'b', endpoint: `http//u:${SECRET}@a` }]) {
      let said = ''
      try {
        made(options)
      } catch (error) {
        said = inspect(error)
      }
      expect(said).toMatch(/TypeError/)
      expect(said).not.toContain(SECRET)
    }
    expect(inspect(made({ ...ok, credentials: { accessKeyId: 'a', secretAccessKey: SECRET } }), { depth: 8, showHidden: true })).not.toContain(SECRET)
  })
})

describe('what is left out', () => {
  test('has its default', () => {
    expect(checkOptions(ok)).toMatchObject({ prefix: '', maxSockets: 64, sendsChecksums: true, storageClass: undefined, lifecycleRules: [] })
  })

  test('capabilities say what objects in a bucket can', () => {
    expect(made(ok).capabilities).toEqual({ synchronous: false, shared: true, durable: true, streams: true, plain: { maxMetadataBytes: 512 }, keeps: 'bytes', landsWithinMs: 60_000 })
  })
})
