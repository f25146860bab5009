import type { Lease, Line, LogMessage } from '@thermocline/backend'

/**
 * A place in the line of a key, taken before the value was made or read elsewhere: what is stored with it is stored only as long as nobody has
 * invalidated the key since.
 */
export class LinePlace implements Lease {
  readonly token: string
  readonly wake: LogMessage
  /** The line as it was when it was entered. */
  readonly line: Line
  /** Neither used up nor lost nor left. */
  isHeld = true
  readonly #lost: () => void

  /** @param lost told when nothing can be stored with it any more, because the key was invalidated or somebody else has stored it */
  constructor(token: string, wake: LogMessage, line: Line, lost: () => void) {
    this.token = token
    this.wake = wake
    this.line = line
    this.#lost = lost
  }

  ended(outcome: 'stored' | 'lost'): void {
    if (!this.isHeld) return
    this.isHeld = false
    if (outcome === 'lost') this.#lost()
  }
}
