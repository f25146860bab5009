import { BUILT_IN } from './adapters/built-in.js'
import { normal } from './problems/near-miss.js'
import { formatPath, type Path } from './problems/path.js'
import { cachingSchema, POLICY_SETTINGS, TIER_SCHEMA, TIER_USE_SCHEMA } from './schema/caching.js'
import { isRecord, type JsonSchema } from './schema/json-schema.js'
import { propertyNames } from './schema/keywords.js'

type Tree = Readonly<Record<string, unknown>>

const CACHING: JsonSchema = cachingSchema()
/** What stands beside `tiers`. */
const CACHING_SETTINGS = propertyNames(CACHING).filter((name) => name !== '$schema')
/** Maps of settings beside `tiers`. */
const SECTIONS = ['write_back', 'telemetry'] as const

/** What people write for a time to live, where there is one of another name. */
const LIVES: ReadonlyMap<string, string> = new Map([
  ['tier', 'a tier has `default_ttl` (where neither call nor policy gives one) and `max_ttl` (the longest it serves an entry); `ttl` belongs in a policy'],
  ['config', '`ttl` belongs in a policy; a tier has `default_ttl` and `max_ttl`'],
  ['caching', 'here it is `default_ttl`; `ttl` belongs in a policy'],
])

/** A place that takes a key, and the key as it is spelled there. */
interface Home {
  readonly place: string
  readonly key: string
}

/** Which kind of map a key stands in. */
type Level = 'document' | 'caching' | 'tier' | 'config' | 'policy' | 'use' | 'section'

/**
 * Finds where a key belongs that nothing takes where it stands: a setting of an adapter beside `config`, `policies` below
 * `tiers`.
 *
 * @param at where `caching` stands in the document
 * @returns where, in words for a message; `undefined` for a key that nothing takes anywhere
 */
export function belongs(caching: Tree, at: Path, path: Path): string | undefined {
  const key = String(path.at(-1))
  const value = valueAt(caching, path.slice(at.length))
  const level = levelOf(path, at)
  const shape = level === 'caching' ? ofItsShape(value, caching, at) : undefined
  if (shape !== undefined) return `it belongs in \`${shape}\``
  const life = normal(key) === 'ttl' ? LIVES.get(level) : undefined
  if (life !== undefined) return life
  if (normal(key) === 'default_ttl' && (level === 'policy' || level === 'use')) return `in a policy it is \`ttl\`; \`default_ttl\` belongs in a tier or in \`${formatPath(at) || 'the document itself'}\``
  if (level === 'document' && Object.hasOwn(caching, key)) return undefined // it is there as well
  const home = homeOf(key, level, caching, at, path)
  if (home === undefined) return undefined
  return `it belongs ${home.place}${home.key === key ? '' : `, as \`${home.key}\``}`
}

/** Whether a name below `tiers` or `policies` is a setting that slipped in there. */
export function isMisplacedSetting(name: string, value: unknown, ownKeys: ReadonlySet<string>): boolean {
  if (!CACHING_SETTINGS.includes(name)) return false
  return !isRecord(value) || !Object.keys(value).some((key) => ownKeys.has(key))
}

function levelOf(path: Path, at: Path): Level {
  const [section, , third, fourth] = path.slice(at.length)
  if (path.length <= at.length) return 'document'
  if (path.length === at.length + 1) return 'caching'
  if (section === 'tiers') return third === 'config' && fourth !== undefined ? 'config' : 'tier'
  if (section === 'policies') return path.length === at.length + 3 ? 'policy' : 'use'
  return 'section'
}

/** What looks like a tier, or like a policy, in the place of a setting. */
function ofItsShape(value: unknown, caching: Tree, at: Path): string | undefined {
  if (!isRecord(value)) return undefined
  if (Object.hasOwn(value, 'backend')) return formatPath([...at, 'tiers'])
  const { tiers } = caching
  const keys = Object.keys(value)
  if (isRecord(tiers) && keys.length > 0 && keys.every((key) => Object.hasOwn(tiers, key) || POLICY_SETTINGS.includes(key))) return formatPath([...at, 'policies'])
  return undefined
}

function homeOf(key: string, level: Level, caching: Tree, at: Path, path: Path): Home | undefined {
  const tierAt = path.slice(0, at.length + 2)
  const tier = valueAt(caching, tierAt.slice(at.length))
  const backend = isRecord(tier) && typeof tier['backend'] === 'string' ? tier['backend'] : undefined
  const within = level === 'tier' || level === 'config'
  const homes: readonly (() => Home | undefined)[] = [
    () => (within ? inConfig(key, backend, tierAt, path) : undefined),
    () => (level === 'policy' ? inUse(key) : undefined),
    () => (level === 'tier' || level === 'document' ? undefined : named(key, propertyNames(TIER_SCHEMA), level === 'config' ? 'in the tier itself, beside `config`' : 'in a tier')),
    () => (level === 'caching' ? undefined : named(key, CACHING_SETTINGS, at.length === 0 ? 'in the document itself, beside `tiers`' : `in \`${formatPath(at)}\`, beside \`tiers\``)),
    () => (level === 'tier' ? undefined : named(key, propertyNames(TIER_SCHEMA), 'in a tier')),
    () => (level === 'policy' ? undefined : named(key, POLICY_SETTINGS, 'in a policy')),
    () => (level === 'use' ? undefined : inUse(key)),
    ...SECTIONS.map((section) => () => (path.at(-2) === section ? undefined : named(key, propertyNames(propertyOf(CACHING, section)), `in \`${formatPath([...at, section])}\``))),
    () => ofBackend(key, backend, within),
  ]
  for (const find of homes) {
    const home = find()
    if (home !== undefined) return home
  }
  return undefined
}

function inUse(key: string): Home | undefined {
  return named(key, propertyNames(TIER_USE_SCHEMA), 'in a tier of a policy, such as `hot: { write: through }`')
}

/** In the `config` of the same tier, or in a map of it. */
function inConfig(key: string, backend: string | undefined, tierAt: Path, path: Path): Home | undefined {
  const schema = backend === undefined ? undefined : BUILT_IN.get(backend)?.configSchema
  if (schema === undefined) return undefined
  const config = [...tierAt, 'config']
  const here = formatPath(path.slice(0, -1))
  const places = [{ at: config, schema }, ...propertyNames(schema).map((name) => ({ at: [...config, name], schema: propertyOf(schema, name) }))]
  for (const place of places) {
    const home = formatPath(place.at) === here ? undefined : named(key, propertyNames(place.schema), `in \`${formatPath(place.at)}\``)
    if (home !== undefined) return home
  }
  return undefined
}

/** In the `config` of tiers with another backend. */
function ofBackend(key: string, own: string | undefined, within: boolean): Home | undefined {
  const takers = [...BUILT_IN].filter(([, { configSchema }]) => named(key, propertyNames(configSchema), '') !== undefined)
  const [first] = takers
  if (first === undefined) return undefined
  const names = takers.map(([name]) => name).filter((name) => name !== 'fs')
  const key_ = named(key, propertyNames(first[1].configSchema), '')?.key ?? key
  const not = within && own !== undefined ? `, which this one is not` : ''
  return { place: `in the \`config\` of a tier with the backend ${names.join(' or ')}${not}`, key: key_ }
}

function named(key: string, names: readonly string[], place: string): Home | undefined {
  const name = names.find((one) => normal(one) === normal(key))
  return name === undefined ? undefined : { place, key: name }
}

function propertyOf(schema: JsonSchema, name: string): JsonSchema {
  const { properties } = schema
  const property = isRecord(properties) ? properties[name] : undefined
  return isRecord(property) ? property : {}
}

function valueAt(tree: unknown, path: Path): unknown {
  return path.reduce<unknown>((here, part) => (isRecord(here) && Object.hasOwn(here, part) ? here[part] : undefined), tree)
}
