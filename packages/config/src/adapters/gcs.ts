import { choice, list, map, text, ttl, wholeNumber } from '../schema/fields.js'
import type { BuiltIn } from './built-in-adapter.js'
import { camelCased } from './camel-case.js'

const STORAGE_CLASSES = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE', 'MULTI_REGIONAL', 'REGIONAL', 'DURABLE_REDUCED_AVAILABILITY']

export const gcs: BuiltIn = {
  packageName: '@thermocline/gcs',
  className: 'GcsBackend',
  configSchema: map(
    'A bucket of Google Cloud Storage. Credentials come from where the Google client looks for them.',
    {
      bucket: text('The name of the bucket.'),
      project_id: text("The project. Default: that of the credentials."),
      api_endpoint: text('The address of the service, for an emulator.', { pattern: '^https?://', expected: 'an address such as http://localhost:4443' }),
      prefix: text('What the name of every object begins with.'),
      storage_class: choice("The storage class of new objects. Default: the bucket's.", STORAGE_CLASSES),
      lifecycle_rules: list(
        "The bucket's lifecycle as it ought to be: compared and a difference reported, never changed by itself.",
        map('One rule.', {
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
