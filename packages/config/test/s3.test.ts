import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { loadCache, parseConfig } from '@thermocline/config'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { s3 } from '../src/adapters/s3.js'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { problemsOf, rejection, writeFiles } from './support.js'

const cold = (config: Record<string, unknown>) => ({ tiers: { cold: { backend: 's3', config } } })

/** The options that a `config` becomes. */
function optionsOf(config: Record<string, unknown>): object {
  const options = s3.options(parseConfig(cold(config)).tiers['cold']!.config, { files: new Map(), maxPayloadBytes: undefined })
  expect(() => new S3Backend(options as S3BackendOptions)).not.toThrow()
  return options
}

describe('every setting of an s3 tier becomes an option of the backend', () => {
  const bucket = 'artifacts'
  test.each([
    [{ bucket }, { bucket }],
    [
      { bucket, region: 'eu-central-1', endpoint: 'http://localhost:9000', prefix: 'cache', storage_class: 'STANDARD_IA', force_path_style: true },
      { bucket, region: 'eu-central-1', endpoint: 'http://localhost:9000', prefix: 'cache', storageClass: 'STANDARD_IA', forcePathStyle: true },
    ],
    [
      { bucket, request_checksum_calculation: 'WHEN_REQUIRED', response_checksum_validation: 'WHEN_SUPPORTED' },
      { bucket, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_SUPPORTED' },
    ],
    [{ bucket, server_side_encryption: 'aws:kms', sse_kms_key_id: 'alias/cache' }, { bucket, serverSideEncryption: 'aws:kms', sseKmsKeyId: 'alias/cache' }],
    [{ bucket, max_sockets: 8, default_ttl: 60 }, { bucket, maxSockets: 8 }],
    [
      { bucket, lifecycle_rules: [{ id: 'cool', transition_days: 30, storage_class: 'GLACIER_IR' }, { tenant: 'acme', prefix: 'frames/', expiration_days: 365 }] },
      { bucket, lifecycleRules: [{ id: 'cool', transitionDays: 30, storageClass: 'GLACIER_IR' }, { tenant: 'acme', prefix: 'frames/', expirationDays: 365 }] },
    ],
  ])('%j', (config, options) => {
    expect(optionsOf(config)).toEqual(options)
  })
})

describe('what is refused', () => {
  test('is told with its place', () => {
    expect(problemsOf(cold({ bucket: 'a', sse_kms_key_id: 'k', lifecycle_rules: [{ expiration_days: 1, prefix: 'a' }, { transition_days: 30, storage_class: 'GLACIER', expiration_days: 30 }] }))).toEqual([
      'tiers.cold.config.sse_kms_key_id: needs `server_side_encryption: aws:kms` beside it',
      'tiers.cold.config.lifecycle_rules[0].prefix: needs `tenant` beside it: keys lie under their tenants',
      'tiers.cold.config.lifecycle_rules[1].expiration_days: must be more than `transition_days` (30), found 30',
    ])
    expect(problemsOf(cold({ bucket: 'a', storage_class: 'STANDARD_AI' }))[0]).toContain('did you mean `STANDARD_IA`?')
    expect(problemsOf(cold({ bucket: 'a', endpoint: 'localhost:9000' }))[0]).toContain('tiers.cold.config.endpoint: expected an address such as http://localhost:9000')
    expect(problemsOf(cold({ bucket: 'a', lifecycle_rules: [{ id: 'a b', expiration_days: 1 }] }))[0]).toContain('tiers.cold.config.lifecycle_rules[0].id: expected 1 to 100 letters')
    expect(problemsOf(cold({}))[0]).toContain('tiers.cold.config.bucket: is missing')
  })

  test('what only the backend can refuse is a problem of its tier', async () => {
    const { problems } = await rejection(loadCache(cold({ bucket: 'a', prefix: 'a/../b' })))
    expect(problems).toMatchObject([{ path: 'tiers.cold.config', message: expect.stringContaining('prefix must not have segments of dots') as unknown }])
  })
})

test('a tier on S3 loads from a file without waiting for the store', async () => {
  const directory = temporaryDirectory()
  writeFiles(directory, { 'cache.yaml': 'tiers: { hot: { backend: memory }, cold: { backend: s3, config: { bucket: "${BUCKET}", endpoint: "http://127.0.0.1:1" } } }' })
  const cache = await loadCache(path.join(directory, 'cache.yaml'), { env: { BUCKET: 'artifacts' }, logger: false })
  expect(await cache.tenant('acme').getOrCompute('a', () => 'computed')).toBe('computed')
  await cache.close()
})
