import type { JsonSchema } from '../schema/json-schema.js'

/** An adapter of this project: its schema ships here, its code in a package of its own that is loaded only when named. */
export interface BuiltIn {
  readonly packageName: string
  /** The class the package exports. */
  readonly className: string
  readonly configSchema: JsonSchema
  /** The class's options from a `config` that is guaranteed to fit the schema. */
  options(config: Readonly<Record<string, unknown>>): object
}
