import { choice, filePath, flag, list, map, text, ttl, wholeNumber } from '../schema/fields.js'
import { isRecord } from '../schema/json-schema.js'
import type { BuiltIn } from './built-in-adapter.js'
import { camelCased } from './camel-case.js'
import { wrongLifecycleRules } from './lifecycle.js'

const STORAGE_CLASSES = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE', 'MULTI_REGIONAL', 'REGIONAL', 'DURABLE_REDUCED_AVAILABILITY']
const KEY_FILE = 'key_file'

export const gcs: BuiltIn = {
  packageName: '@thermocline/gcs',
  className: 'GcsBackend',
  configSchema: map(
    'A bucket of Google Cloud Storage. Credentials come from where the Google client looks for them, unless key_file names them.',
    {
      bucket: text('The name of the bucket.'),
      project_id: text('The project. Default: that of the credentials.'),
      api_endpoint: text('The address of the service, for an emulator or a regional endpoint. Default: STORAGE_EMULATOR_HOST, else Google.', { pattern: '^https?://', expected: 'an address such as http://localhost:4443' }),
      key_file: filePath('A file with credentials, as Google makes them.'),
      anonymous: flag('Whether requests are sent without credentials. Default: true where api_endpoint begins with http:.'),
      prefix: text('What the name of every object begins with.'),
      storage_class: choice("The storage class of new objects. Default: the bucket's.", STORAGE_CLASSES),
      max_sockets: wholeNumber('The most connections.', 1, { default: 64 }),
      lifecycle_rules: list(
        "The bucket's lifecycle as it ought to be: compared and a difference reported, never changed by itself.",
        map('One rule.', {
          id: text('A name for the rule.'),
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
  files: [[KEY_FILE]],
  wrong: (config) => [
    ...(config['anonymous'] === true && config[KEY_FILE] !== undefined ? [{ path: ['anonymous'], message: `must not be true together with \`${KEY_FILE}\`, which would not be used` }] : []),
    ...wrongLifecycleRules(config['lifecycle_rules']),
  ],
  wrongFiles: (_, files) => (files.has(KEY_FILE) && credentialsIn(files.get(KEY_FILE)) === undefined ? [{ path: [KEY_FILE], message: "names a file that holds no credentials: it has to be JSON of Google's, with a `type`" }] : []),
  options({ default_ttl: _, [KEY_FILE]: __, ...config }, { files }) {
    const credentials = credentialsIn(files.get(KEY_FILE))
    return { ...camelCased(config), ...(credentials === undefined ? {} : { credentials }) }
  },
}

/** Of somebody's key file. A file that is none says nothing here of what is in it. */
function credentialsIn(content: Buffer | undefined): object | undefined {
  try {
    const parsed: unknown = content === undefined ? undefined : JSON.parse(content.toString('utf8'))
    return isRecord(parsed) && typeof parsed['type'] === 'string' ? parsed : undefined
  } catch {
    return undefined
  }
}
