import { choice, flag, list, map, text, ttl, wholeNumber } from '../schema/fields.js'
import type { BuiltIn } from './built-in-adapter.js'
import { camelCased } from './camel-case.js'

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

export const s3: BuiltIn = {
  packageName: '@thermocline/s3',
  className: 'S3Backend',
  configSchema: map(
    'A bucket of Amazon S3 or a compatible store. Credentials come from where the AWS SDK looks for them.',
    {
      bucket: text('The name of the bucket.'),
      region: text("The region. Default: the AWS SDK's."),
      endpoint: text('The address of a compatible store.', { pattern: '^https?://', expected: 'an address such as http://localhost:9000' }),
      prefix: text('What the name of every object begins with.'),
      storage_class: choice("The storage class of new objects. Default: the bucket's.", STORAGE_CLASSES),
      force_path_style: flag('Whether the bucket is in the path instead of the host name, as compatible stores often need.', false),
      lifecycle_rules: list(
        "The bucket's lifecycle as it ought to be: compared and a difference reported, never changed by itself.",
        map('One rule.', {
          id: text('A name for the rule.'),
          prefix: text('Which objects it concerns.'),
          transition_days: wholeNumber('Days after which objects move to storage_class.', 0),
          storage_class: choice('Where they move.', STORAGE_CLASSES),
          expiration_days: wholeNumber('Days after which objects are removed.', 1),
        }),
      ),
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { required: ['bucket'] },
  ),
  options: camelCased,
}
