import { ScopeSlot, type TenantScope } from '@thermocline/backend'

/*
 * Keys in the server: <keyPrefix><tenant>:<key>, with the characters escaped as %xx that would mean something else there.
 *
 *   %     so that escaping can be undone
 *   { }   Redis Cluster hashes only what stands in braces; without them a tenant spreads over all slots
 *   :     in tenants, where it ends the tenant
 *
 * Redis takes any bytes and tells letter case apart, so everything else stays readable. Each character is escaped by itself,
 * so a plain prefix of a key is a plain prefix of its name.
 *
 * What is no entry has a % after <keyPrefix> that no escaping makes: <keyPrefix>%L{<name>} is the line of a name, in the same slot, and <keyPrefix>%log the log.
 */

const IN_KEYS = /[%{}]/g
const IN_TENANTS = /[%{}:]/g
const ESCAPED = /%(25|7B|7D|3A)/g
const GLOB = /[\\*?[\]]/g

/** The names of entries in one server, and what they stand for. */
export class Names {
  readonly #keyPrefix: string
  readonly #prefixes = new ScopeSlot<string>()

  constructor(keyPrefix: string) {
    this.#keyPrefix = keyPrefix
  }

  of(scope: TenantScope, key: string): string {
    return this.#prefixOf(scope) + escaped(key, IN_KEYS)
  }

  /** The key of a name in the tenant's part; `undefined` for a name that no key has. */
  keyOf(scope: TenantScope, name: string): string | undefined {
    const prefix = this.#prefixOf(scope)
    if (!name.startsWith(prefix)) return undefined
    const key = name.slice(prefix.length).replace(ESCAPED, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    return key !== '' && this.of(scope, key) === name ? key : undefined
  }

  /** Names that no entry has, since no tenant is empty, spread over all slots. */
  readonly stray = (n: number): string => `${this.#keyPrefix}:${n}`

  /** The line of those who mean to store something under a name; in the slot of that name. */
  line(name: string): string {
    return `${this.#keyPrefix}%L{${name}}`
  }

  /** What `SCAN MATCH` takes for the lines of all keys of the tenant with a prefix. */
  linePattern(scope: TenantScope, prefix: string): string {
    return `${this.line(this.of(scope, prefix)).slice(0, -1).replace(GLOB, '\\$&')}*`
  }

  /** The log of what processes invalidate. */
  get log(): string {
    return `${this.#keyPrefix}%log`
  }

  /** What `SCAN MATCH` takes for all keys of the tenant with a prefix; nothing in the names counts as a wildcard. */
  pattern(scope: TenantScope, prefix: string): string {
    return `${this.of(scope, prefix).replace(GLOB, '\\$&')}*`
  }

  #prefixOf(scope: TenantScope): string {
    return this.#prefixes.get(scope) ?? this.#prefixes.set(scope, `${this.#keyPrefix}${escaped(scope.tenant, IN_TENANTS)}:`)
  }
}

function escaped(text: string, special: RegExp): string {
  return text.search(special) === -1 ? text : text.replace(special, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
