import { randomBytes } from 'node:crypto'
import { validateKey, validatePrefix, validateTenant, type LoggedMessage, type LogMessage, type TenantId, type ValidKey } from '@thermocline/backend'

/*
 * What processes tell each other in the log. A message is a JSON list: the version, what kind it is, the process that says it, and what else
 * belongs to the kind.
 */

const VERSION = 1
/** Longer than any message of ours: a tenant and a key, escaped. */
const LONGEST = 16_384

/** What is told. */
export type Told =
  /** The key was set, deleted, or is not fresh any more: who has it elsewhere has an older value. */
  | { readonly kind: 'key'; readonly tenant: TenantId; readonly key: ValidKey }
  /** Everything under the prefix is being removed; `begin` and `end` have the same `of`. */
  | { readonly kind: 'begin' | 'end'; readonly tenant: TenantId; readonly prefix: string; readonly of: string }
  /** Who waits in the key's line has to look: a value was stored, or is not going to be. */
  | { readonly kind: 'wake'; readonly tenant: TenantId; readonly key: ValidKey }
  /** The process lives, and the log takes what it appends. */
  | { readonly kind: 'beat' }

export type Message = Told & { readonly by: string }

/**
 * What a message says. `newer`: a newer version of this library says it, and it may be an invalidation; `foreign`: nothing that this library ever says.
 */
export function readMessage({ text }: Pick<LoggedMessage, 'text'>): Message | 'newer' | 'foreign' {
  if (text.length > LONGEST) return 'foreign'
  try {
    const said: unknown = JSON.parse(text)
    if (!Array.isArray(said) || typeof said[0] !== 'number') return 'foreign'
    if (said[0] > VERSION) return 'newer'
    const [version, kind, by, tenant, what, of] = said as unknown[]
    if (version !== VERSION || typeof by !== 'string') return 'foreign'
    if (kind === 'beat') return { kind, by }
    if (kind === 'key' || kind === 'wake') return { kind, by, tenant: validateTenant(tenant), key: validateKey(what) }
    if (kind === 'begin' || kind === 'end') return typeof of === 'string' ? { kind, by, tenant: validateTenant(tenant), prefix: validatePrefix(what), of } : 'foreign'
    return typeof kind === 'string' ? 'newer' : 'foreign' // a kind that was added without a new version
  } catch {
    return 'foreign'
  }
}

/** Makes the messages of one process. */
export class Speaker {
  /** The process, or rather the manager in it. */
  readonly by: string

  constructor(by: string) {
    this.by = by
  }

  say(told: Told): LogMessage {
    const rest = told.kind === 'beat' ? [] : 'key' in told ? [told.tenant, told.key] : [told.tenant, told.prefix, told.of]
    return { id: randomId(), text: JSON.stringify([VERSION, told.kind, this.by, ...rest]) }
  }
}

/** 72 random bits, as 12 characters. Cheaper than one call of the generator for each. */
export function randomId(): string {
  if (at + ID_BYTES > pool.length) {
    pool = randomBytes(POOL_BYTES)
    at = 0
  }
  return pool.toString('base64url', at, (at += ID_BYTES))
}

const ID_BYTES = 9
const POOL_BYTES = 4608
let pool = Buffer.alloc(0)
let at = 0
