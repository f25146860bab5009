import { choice, flag, list, map, text, ttl, wholeNumber } from '../schema/fields.js'
import type { BuiltIn } from './built-in-adapter.js'
import { camelCased } from './camel-case.js'
import { wrongLifecycleRules } from './lifecycle.js'

const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'GLACIER_IR',
  'DEEP_ARCHIVE',
  'EXPRESS_ONEZONE',
  'REDUCED_REDUNDANCY',
  'OUTPOSTS',
  'SNOW',
]

const CHECKSUMS = ['WHEN_SUPPORTED', 'WHEN_REQUIRED']

export const s3: BuiltIn = {
  packageName: '@thermocline/s3',
  className: 'S3Backend',
  configSchema: map(
    'A bucket of Amazon S3 or a compatible store. Credentials come from where the AWS SDK looks for them.',
    {
      bucket: text('The name of the bucket.'),
      region: text("The region. Default: the AWS SDK's; with an endpoint and none, us-east-1."),
      endpoint: text('The address of a compatible store.', { pattern: '^https?://', expected: 'an address such as http://localhost:9000' }),
      prefix: text('What the name of every object begins with.'),
      storage_class: choice("The storage class of new objects. Default: the store's.", STORAGE_CLASSES),
      force_path_style: flag('Whether the bucket is in the path instead of the host name, as compatible stores often need.', false),
      request_checksum_calculation: choice('WHEN_REQUIRED: no CRC-32 goes with new objects, for stores that refuse the header.', CHECKSUMS, 'WHEN_SUPPORTED'),
      response_checksum_validation: choice("WHEN_SUPPORTED: the SDK checks what it reads against the store's checksum, besides the entry's own.", CHECKSUMS, 'WHEN_REQUIRED'),
      server_side_encryption: choice('How the store encrypts new objects. Default: as the bucket says.', ['AES256', 'aws:kms']),
      sse_kms_key_id: text("The key for aws:kms: its id, ARN or alias. Default: the account's."),
      max_sockets: wholeNumber('The most connections.', 1, { default: 64 }),
      lifecycle_rules: list(
        "The bucket's lifecycle as it ought to be: compared and a difference reported, never changed by itself.",
        map('One rule.', {
          id: text('A name for the rule. Default: its place in the list.', { pattern: '^[A-Za-z0-9_.-]{1,100}$', expected: '1 to 100 letters, digits, -, _ and .' }),
          tenant: text("Whose entries it concerns. Default: all tenants'."),
          prefix: text("Which of the tenant's entries it concerns, by what their keys begin with."),
          transition_days: wholeNumber('Days after which objects move to storage_class.', 0),
          storage_class: choice('Where they move.', STORAGE_CLASSES),
          expiration_days: wholeNumber('Days after which objects are removed.', 1),
        }),
      ),
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { required: ['bucket'] },
  ),
  wrong: (config) => [
    ...(config['sse_kms_key_id'] !== undefined && config['server_side_encryption'] !== 'aws:kms' ? [{ path: ['sse_kms_key_id'], message: 'needs `server_side_encryption: aws:kms` beside it' }] : []),
    ...wrongLifecycleRules(config['lifecycle_rules']),
  ],
  options: ({ default_ttl: _, ...config }) => camelCased(config),
}
