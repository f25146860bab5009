import type { CacheBackend } from '@thermocline/backend'
import type { JsonSchema } from '../schema/json-schema.js'

/**
 * What a third party's package exports as `cacheAdapter`, so that a configuration can name the package as a backend.
 *
 * @example
 * ```ts
 * export const cacheAdapter: CacheAdapter<{ table: string }> = {
 *   name: 'dynamo',
 *   configSchema: { type: 'object', properties: { table: { type: 'string' } }, required: ['table'], additionalProperties: false },
 *   create: (config) => new DynamoBackend(config.table),
 * }
 * ```
 */
export interface CacheAdapter<Config extends object = Readonly<Record<string, unknown>>> {
  /** The service's name, for messages. */
  readonly name: string
  /** JSON Schema, draft-07 or 2020-12, of the tier's `config`. Every property it names is also the type that `${NAME}` is turned into. */
  readonly configSchema: JsonSchema
  /** Makes the backend from a `config` that is guaranteed to fit the schema. Connects to nothing that it would have to wait for. */
  create(config: Config): CacheBackend
}
