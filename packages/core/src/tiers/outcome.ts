import type { CacheError } from '@thermocline/backend'

/** Why an operation changed nothing in a tier. */
export class NotApplied {
  /**
   * - `safe`: nothing stale can be served: the key was deleted instead, or its deletion is recorded
   * - `fenced`: dropped, because an invalidation came after it began
   * - `lost`: neither applied nor recorded
   */
  readonly how: 'safe' | 'fenced' | 'lost'
  readonly error: CacheError | undefined

  constructor(how: 'safe' | 'fenced' | 'lost', error?: CacheError) {
    this.how = how
    this.error = error
  }
}

/** The one outcome of a fenced operation; it carries nothing. */
export const FENCED = new NotApplied('fenced')
