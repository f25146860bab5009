import type { ValidKey } from '../keys/key.js'

/** Where an invalidation was called: in this process, or in another one that has told of it. */
export type InvalidationOrigin = 'here' | 'elsewhere'

/**
 * What is not to be served any more: one key, or every key with a prefix. A value that travels through everything that keeps or remembers
 * entries; each asks {@link covers}, and none compares keys and prefixes by itself.
 */
export class Invalidation {
  /** The key, where it is one: whoever keeps things by key looks it up, instead of asking about each that it has. */
  readonly key: ValidKey | undefined
  /** The prefix otherwise; empty: every key. */
  readonly prefix: string | undefined
  readonly origin: InvalidationOrigin

  private constructor(key: ValidKey | undefined, prefix: string | undefined, origin: InvalidationOrigin) {
    this.key = key
    this.prefix = prefix
    this.origin = origin
  }

  static ofKey(key: ValidKey, origin: InvalidationOrigin = 'here'): Invalidation {
    return new Invalidation(key, undefined, origin)
  }

  static ofPrefix(prefix: string, origin: InvalidationOrigin = 'here'): Invalidation {
    return new Invalidation(undefined, prefix, origin)
  }

  /** From what a record or a journal has kept; see {@link data}. */
  static of(data: { readonly key: string } | { readonly prefix: string }, origin: InvalidationOrigin = 'here'): Invalidation {
    return 'prefix' in data ? Invalidation.ofPrefix(data.prefix, origin) : Invalidation.ofKey(data.key as ValidKey, origin)
  }

  covers(key: string): boolean {
    return this.key === undefined ? key.startsWith(this.prefix as string) : key === this.key
  }

  /** Whether there may be a key that both cover. */
  meets(other: Invalidation): boolean {
    if (this.key !== undefined) return other.covers(this.key)
    if (other.key !== undefined) return this.covers(other.key)
    const [one, another] = [this.prefix as string, other.prefix as string]
    return one.startsWith(another) || another.startsWith(one)
  }

  /** What a record or a journal keeps of it. */
  get data(): { readonly key: ValidKey } | { readonly prefix: string } {
    return this.key === undefined ? { prefix: this.prefix as string } : { key: this.key }
  }
}
