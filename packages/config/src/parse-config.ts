import type { CacheConfiguration, ConfigurationInput, ReadingOptions } from './configuration.js'
import { draftOf } from './draft.js'
import { checkConfigs, finish } from './finish.js'
import { checkEnvironment, checkOptions, isPlain, kindOf, KINDS, READING_OPTIONS } from './options.js'
import { readText } from './reading/document.js'
import { readObject } from './reading/object.js'

export interface ParseOptions extends ReadingOptions {
  /** How messages call the text. Nothing is read from there. */
  readonly file?: string | undefined
}

/**
 * Checks a configuration and fills in its variables and preset, without loading an adapter or touching the disk: no
 * package needs to be installed, and the settings of third parties' adapters are left as they are. YAML or JSON text, or
 * the same as an object.
 *
 * @throws ConfigError that lists every problem
 * @throws TypeError when `given` is neither text nor an object, and for options that it does not take
 *
 * @example
 * ```ts
 * const { tiers } = parseConfig('tiers: { hot: { backend: memory } }')
 * ```
 */
export function parseConfig(given: string | ConfigurationInput | { readonly caching: ConfigurationInput }, options: ParseOptions = {}): CacheConfiguration {
  if (typeof given !== 'string' && !isPlain(given)) throw new TypeError(`parseConfig(given) needs YAML or JSON text, or an object, not ${kindOf(given)}`)
  checkOptions('parseConfig(given, options)', options, { ...READING_OPTIONS, file: KINDS.text })
  if (options.env !== undefined) checkEnvironment('parseConfig(given, { env })', options.env)
  const source = typeof given === 'string' ? readText(given, options.file) : readObject(given)
  const draft = draftOf(source, options)
  return finish(draft, checkConfigs(draft, new Map()))
}
