import type { ValidKey } from '../keys/key.js'
import type { OperationOptions } from './backend.js'
import type { LogMessage } from './lease.js'
import type { TenantScope } from './scope.js'

/*
 * A contract of its own, for stores over which processes agree: who makes a key's value, what may still be written, and what each has invalidated.
 *
 * Each key has a line of tokens. Whoever means to store a value enters the line before it begins to make it, and the store takes the value only as
 * long as the token stands there. Whoever invalidates the key empties the line. So nothing that began before an invalidation is stored after it,
 * whatever clocks say and however long a process was stopped. The first in the line makes the value; the others wait for it.
 *
 * The log has one message for each invalidation. A reader knows by the id of the message before whether it has missed one. What a message says is the
 * managers' business.
 *
 * A permission that is lost (a token, a line, the log) means that something is not stored, or not believed. It never brings an old value back.
 */

/** A message as it stands in the log. */
export interface LoggedMessage extends LogMessage {
  /** Where it stands: later ones have another. */
  readonly position: string
  /** The id of the message before it, when it was appended; empty: it was the first. */
  readonly previous: string
  /** The id of the log's first message: another one where the log was lost and begun anew. */
  readonly log: string
}

/** A key's line, as a store sees it. */
export interface Line {
  /** Who is first, and how often that was renewed: a text that changes as long as the holder lives. `undefined`: nobody is in the line. */
  readonly first: string | undefined
  readonly isFirst: boolean
  /** Whether the token that asks stands in it. */
  readonly isListed: boolean
  /** Whether the backend holds an entry under the key, whatever its life. */
  readonly isStored: boolean
}

/** How long a line outlives its last change, in milliseconds: those of processes that have ended go by themselves. */
export const LINE_LIFE_MS = 3_600_000

/**
 * The agreement over one store. Its methods reject with a `CacheError` when the store cannot be asked; whoever asks then has no place in the line. The code
 * `misconfigured` says that the store will not allow it: the manager does without from then on, and the backend carries out changes that it cannot announce.
 */
export interface Coordination {
  /** Puts the token at the end of the key's line, unless it stands there. */
  enter(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line>
  /** The line as it is. */
  look(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line>
  /** Says that the token's process lives: {@link Line.first} changes where it is first. False: it stands in the line no more. */
  renew(scope: TenantScope, key: ValidKey, token: string, times: number, options: OperationOptions): Promise<boolean>
  /** Puts the token first, in the place of `first`, which leaves the line. False: another one was first. */
  takeOver(scope: TenantScope, key: ValidKey, token: string, first: string, options: OperationOptions): Promise<boolean>
  /** Takes the token out of the line. Where it was first and others stand behind, `wake` is appended to the log. */
  leave(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage, options: OperationOptions): Promise<void>
  /** As a put with a {@link Lease}, for what is stored elsewhere: empties the line if the token stands in it. False: it does not. */
  commit(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage, options: OperationOptions): Promise<boolean>
  /** Empties the lines of keys: what was begun for them is not stored. */
  empty(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<void>
  /** Empties the lines of all keys with the prefix. */
  emptyUnder(scope: TenantScope, prefix: string, options: OperationOptions): Promise<void>
  /** Empties the line of the key and appends the message, in one step where the store can. */
  announce(scope: TenantScope, key: ValidKey, message: LogMessage, options: OperationOptions): Promise<void>
  /** Appends a message to the log. Resolves with its position. */
  append(message: LogMessage, options: OperationOptions): Promise<string>
  /** The messages after the position, oldest first; some of them where there are many. Waits up to `waitMs` for the next one where there is none. */
  read(after: string, waitMs: number, options: OperationOptions): Promise<readonly LoggedMessage[]>
  /** The last message; `undefined`: the log is empty. */
  end(options: OperationOptions): Promise<LoggedMessage | undefined>
  /** Where the log begins: before any message. */
  readonly beginning: string
  /**
   * Whether entries may be lost with the log, or be older, as where another server takes over that was behind. Then a process that notices carries out again
   * what it has changed lately.
   */
  readonly losesEntries: boolean
  /** A position before everything that was appended in the last so many milliseconds before that one; earlier is as good, such as {@link beginning}. */
  before(position: string, ms: number): string
  /** Whether one position of a log comes before another. */
  isBefore(position: string, other: string): boolean
  close(): Promise<void>
}

/** A backend over which processes agree. Once it has been opened, puts with a {@link Lease} and deletions with an announcement are asked of the backend. */
export interface Coordinator {
  /** @throws TypeError where the backend's options do not allow it */
  openCoordination(): Coordination
}

export function isCoordinator(backend: object): backend is Coordinator {
  return typeof (backend as Partial<Coordinator>).openCoordination === 'function'
}
