import type { Invalidation, LogMessage, TenantScope } from '@thermocline/backend'

/** What a tier over which processes agree needs for its writes: what others are to be told with each. */
export interface TierAgreement {
  /** False once the store has refused: nobody is told any more, and nothing needs a place in a line. */
  readonly isOn: boolean
  /** What is told of one key. */
  announcement(scope: TenantScope, invalidation: Invalidation): LogMessage
  /** The message is going to be sent. @returns to be called when it was, or could not be */
  telling(scope: TenantScope, invalidation: Invalidation, message: LogMessage): () => void
  /** Tells that a removal of many keys begins, and sees to it that nothing that was begun before is stored. Resolves with how to tell of its end; both reject where that cannot be done. */
  removing(scope: TenantScope, prefixes: readonly string[]): Promise<() => Promise<unknown>>
}
