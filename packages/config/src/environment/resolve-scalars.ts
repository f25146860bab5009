import { ADAPTER_CONFIG } from '../schema/caching.js'
import { isRecord, type JsonSchema } from '../schema/json-schema.js'
import { formatPath, type Path } from '../problems/path.js'
import type { ProblemList } from '../problems/problem-list.js'
import { coerce } from './coerce.js'
import { placeIn, placeOf, typesIn, type SchemaPlace } from './schema-walk.js'
import { EMPTY } from '../reading/empty.js'
import { expandHome, namesOtherHome } from './home.js'
import { substitute, type Environment } from './substitute.js'

/** Gives the scalars of a document the values they stand for: puts in the environment's variables, remembering where, and the home directory. */
export class ScalarResolver {
  readonly #env: Environment
  readonly #problems: ProblemList
  readonly #variables = new Map<string, readonly string[]>()

  constructor(env: Environment, problems: ProblemList) {
    this.#env = env
    this.#problems = problems
  }

  /** The variables that were put into the scalar at `path`. */
  readonly variablesIn = (path: Path): readonly string[] => this.#variables.get(formatPath(path)) ?? []

  /** The same document with every variable replaced by text of the type that the schema has there. */
  resolve(value: unknown, schema: JsonSchema, at: Path): unknown {
    return this.#resolve(value, placeOf(schema, schema), schema, at)
  }

  #resolve(value: unknown, place: SchemaPlace, root: JsonSchema, path: Path): unknown {
    if (value === EMPTY) return this.#nothing(place, path)
    if (place.includes(ADAPTER_CONFIG)) return value
    if (typeof value === 'string') return this.#scalar(value, place, path)
    if (Array.isArray(value)) return value.map((item: unknown, index) => this.#resolve(item, placeIn(place, index, root), root, [...path, index]))
    if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, this.#resolve(inside, placeIn(place, key, root), root, [...path, key])]))
    // JSON has no Infinity, and neither has a schema: where null means for ever, so does Infinity
    return value === Number.POSITIVE_INFINITY && typesIn(place).has('null') ? null : value
  }

  #scalar(written: string, place: SchemaPlace, path: Path): unknown {
    const { text, variables, problems } = substitute(written, this.#env)
    if (problems.length > 0) this.#problems.add(path, problems.join('; '))
    if (variables.length > 0) this.#variables.set(formatPath(path), variables)
    if (place.some(({ isPath }) => isPath === true)) return this.#path(text, path)
    return variables.length === 0 ? text : coerce(text, typesIn(place))
  }

  /** What is read as null, which is to be written where it means for ever. */
  #nothing(place: SchemaPlace, path: Path): null {
    if (place.some(({ duration }) => duration === 'ttl')) this.#problems.add(path, 'is empty: write `null` for ever, or leave the key out')
    return null
  }

  #path(text: string, path: Path): string {
    if (namesOtherHome(text)) this.#problems.add(path, 'begins with `~` and a name: write the home directory of another user out; `./~name` is a directory of that name')
    return expandHome(text, this.#env)
  }
}
