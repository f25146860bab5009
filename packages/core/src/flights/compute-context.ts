import { ttlMs, type Ttl } from '@thermocline/backend'

/** What a compute function receives. */
export interface ComputeContext {
  readonly key: string
  readonly tenant: string
  /** Fires when the last caller has left, or the cache closes past its deadline. */
  readonly signal: AbortSignal
  /** Sets the time to live of the result, over call and policy; `0`: do not store. Of a stream before its first chunk; later it throws. */
  readonly setTtl: (ttl: Ttl) => void
  /** Adds tags to the result. To a stream before its first chunk; later it throws. */
  readonly addTags: (...tags: string[]) => void
  /** The result is handed to the callers and not stored. */
  readonly doNotCache: () => void
}

/** A function that makes a value that was not found. */
export type Compute<T> = (context: ComputeContext) => T | Promise<T>

/** Who a compute is for: a flight, or one caller. */
interface Whose {
  readonly signal: AbortSignal
  readonly isAborted?: boolean | undefined
}

/** What the compute function asked for. */
export class ComputeWishes implements ComputeContext {
  readonly key: string
  readonly tenant: string
  ttlMs: number | undefined
  tags: string[] | undefined
  uncached = false
  /** How many keys are made by the same call of the function: each has its part of the time. */
  sharedBy = 1
  #isDescribed = false
  readonly #whose: Whose

  /** @param whose has the signal, once the compute asks for it */
  constructor(key: string, tenant: string, whose: Whose) {
    this.key = key
    this.tenant = tenant
    this.#whose = whose
  }

  get signal(): AbortSignal {
    return this.#whose.signal
  }

  /** Nobody waits for it any more; asked without its signal being made. */
  get isAbandoned(): boolean {
    return this.#whose.isAborted === true
  }

  // made when asked for, which is seldom; a compute may take them off its context, ({ setTtl }) => ...
  get setTtl(): (ttl: Ttl) => void {
    return (ttl) => {
      this.#assertOpen('setTtl')
      if (ttl === undefined) throw new TypeError('setTtl needs a time to live')
      this.ttlMs = ttlMs(ttl, 'setTtl(ttl)')
    }
  }

  get addTags(): (...tags: string[]) => void {
    return (...tags) => {
      this.#assertOpen('addTags')
      this.tags = [...validateTags([...(this.tags ?? []), ...tags], 'addTags(...tags)')]
    }
  }

  /** A stream has begun, and tiers are told what its entry is: what is wished for it from now on would come too late. */
  described(): void {
    this.#isDescribed = true
  }

  #assertOpen(wish: string): void {
    if (this.#isDescribed) throw new TypeError(`${wish} must be called before the first chunk of a stream: tiers are told with it what its entry is`)
  }

  get doNotCache(): () => void {
    return () => {
      this.uncached = true
    }
  }
}

/** What fits into a frame's header beside everything else. */
const MAX_TAGS = 1000

/** @throws TypeError unless every tag is a non-empty well-formed string of at most 256 characters */
export function validateTags(tags: readonly unknown[], option: string): readonly string[] {
  if (!Array.isArray(tags)) throw new TypeError(`${option} must be an array of strings`)
  if (tags.length > MAX_TAGS) throw new TypeError(`${option} must be at most ${MAX_TAGS} tags, not ${tags.length}`)
  for (const tag of tags) {
    if (typeof tag !== 'string' || tag === '' || tag.length > 256 || !tag.isWellFormed()) {
      throw new TypeError(`${option} must be non-empty well-formed strings of at most 256 characters`)
    }
  }
  return tags as readonly string[]
}
