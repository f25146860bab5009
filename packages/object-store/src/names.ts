import { sha256, type TenantScope, type ValidKey } from '@thermocline/backend'

/*
 * How entries are named in an object store: `<prefix>/tenants/<tenant>/<key>`, so that people can browse them, copy them and set
 * lifecycle rules by tenant and data type.
 *
 * A key keeps its slashes and all that is legible. Escaped, as `%XX` of each UTF-8 byte: controls, `%`, `\`, what Google's
 * naming guide advises against because its tools read it as a pattern (`* ? [ ] #`), and what XML, the language of S3's listings, cannot
 * hold. A segment of dots alone has its dots escaped: a proxy would take `..` for the parent and show another tenant's
 * object. A leading `~` is escaped, because `~long/` stands for names beyond the store's limit.
 */

/** S3 and Cloud Storage: UTF-8 bytes of a whole name. */
const MAX_NAME_BYTES = 1024
const LONG = '~long/'
const UNSAFE = /[\u0000-\u001f\u007f-\u009f%\\*?[\]#\ufffe\uffff\u2028\u2029]/u
const UNSAFE_ALL = new RegExp(UNSAFE, 'gu')
const DOTS_ONLY = /^\.+$/
/** Dots alone between slashes, or at an end. */
const SEGMENT_OF_DOTS = /(?:^|\/)\.+(?:\/|$)/

/** The names of one backend's objects. */
export class ObjectNames {
  /** Everything of ours begins with it: `<prefix>/tenants/`. */
  readonly root: string
  /** The tenant that was last asked about: listings ask about one for each name. */
  #last: { readonly tenant: string; readonly begin: string } | undefined

  /** @param prefix may be empty; slashes at its ends do not count */
  constructor(prefix: string) {
    const trimmed = prefix.replace(/^\/+|\/+$/g, '')
    this.root = trimmed === '' ? 'tenants/' : `${trimmed}/tenants/`
  }

  /** What all objects of a tenant begin with. */
  ofTenant(scope: TenantScope): string {
    const { tenant } = scope
    if (this.#last?.tenant !== tenant) this.#last = { tenant, begin: `${this.root}${encodeTenant(tenant)}/` }
    return this.#last.begin
  }

  /** The object of a key. */
  of(scope: TenantScope, key: ValidKey): string {
    const tenant = this.ofTenant(scope)
    const name = tenant + encodeObjectKey(key)
    return Buffer.byteLength(name) <= MAX_NAME_BYTES ? name : `${tenant}${LONG}${sha256(key)}`
  }

  /**
   * What to list to see every key with a prefix: the names under the first are to be decoded and compared, those under the second, where
   * the hashed ones are, to be looked at one by one. Without a second, the first shows all.
   */
  under(scope: TenantScope, prefix: string): readonly [legible: string, hashed?: string] {
    const tenant = this.ofTenant(scope)
    return prefix === '' ? [tenant] : [tenant + encodePrefix(prefix), tenant + LONG]
  }

  /** The key of an object of the tenant; `undefined`: only its metadata knows, or it is not one of ours. */
  keyOf(scope: TenantScope, name: string): string | undefined {
    const tenant = this.ofTenant(scope)
    if (!name.startsWith(tenant)) return undefined
    const encoded = name.slice(tenant.length)
    if (encoded === '' || encoded.startsWith('~')) return undefined
    const key = encoded.includes('%') ? decode(encoded) : encoded
    return key !== undefined && encodeObjectKey(key) === encoded ? key : undefined
  }

  /** Whether the name is one that stands for a key beyond the store's limit. */
  isHashed(scope: TenantScope, name: string): boolean {
    return name.startsWith(this.ofTenant(scope) + LONG)
  }
}

/** Injective: no two keys have one name. */
export function encodeObjectKey(key: string): string {
  if (!UNSAFE.test(key) && !SEGMENT_OF_DOTS.test(key) && !key.startsWith('~')) return key
  const escaped = key
    .replace(UNSAFE_ALL, escape)
    .split('/')
    .map((segment) => (DOTS_ONLY.test(segment) ? segment.replaceAll('.', '%2E') : segment))
    .join('/')
  return escaped.startsWith('~') ? `%7E${escaped.slice(1)}` : escaped
}

/** What the names of all keys with the prefix begin with: dots at its end may be escaped in them or not. */
function encodePrefix(prefix: string): string {
  const last = prefix.slice(prefix.lastIndexOf('/') + 1)
  return encodeObjectKey(DOTS_ONLY.test(last) ? prefix.slice(0, prefix.length - last.length) : prefix)
}

/** One segment: its slashes are escaped too. */
function encodeTenant(tenant: string): string {
  return encodeObjectKey(tenant).replaceAll('/', '%2F')
}

function escape(text: string): string {
  return [...Buffer.from(text, 'utf8')].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}
