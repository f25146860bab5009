import type { Path } from '../problems/path.js'
import type { JsonSchema } from '../schema/json-schema.js'

/** Settings as a file has them. */
export type Settings = Readonly<Record<string, unknown>>

/** What files hold that settings name, by the setting's path below `config`: `tls.ca_file`. */
export type SettingFiles = ReadonlyMap<string, Buffer>

/** What a backend is made with besides its own settings. */
export interface Surroundings {
  readonly files: SettingFiles
  /** As the tier has it. */
  readonly maxPayloadBytes: number | undefined
}

/** A setting that cannot be used. */
export interface WrongSetting {
  /** Below `config`. */
  readonly path: Path
  readonly message: string
}

/** An adapter of this project: its schema ships here, its code in a package of its own that is loaded only when named. */
export interface BuiltIn {
  readonly packageName: string
  /** The class the package exports. */
  readonly className: string
  readonly configSchema: JsonSchema
  /** Settings that name files, which are read when the cache is made. */
  readonly files?: readonly Path[]
  /** What no schema can say about settings that fit the schema. */
  wrong?(config: Settings): readonly WrongSetting[]
  /** What is wrong with the files, all of which could be read. */
  wrongFiles?(config: Settings, files: SettingFiles): readonly WrongSetting[]
  /** The class's options from a `config` that is guaranteed to fit the schema. */
  options(config: Settings, surroundings: Surroundings): object
}
