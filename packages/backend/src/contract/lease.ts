/** What is appended to the log. */
export interface LogMessage {
  /** Random, and never used twice. */
  readonly id: string
  readonly text: string
}

/** A place in the line of a key, with what is to be told when it is used up. For a put: the entry is stored only if the token stands in the line, which is emptied in the same step. */
export interface Lease {
  readonly token: string
  /** For those who wait in the line: appended to the log when it is emptied, where anybody else stands in it. */
  readonly wake: LogMessage
  /** Told by whoever carried out a put: it was stored; the token stood in the line no more, and nothing was; or another entry was there and stays. */
  ended(outcome: 'stored' | 'lost' | 'kept'): void
}
