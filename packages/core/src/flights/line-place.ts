import type { Lease, Line, LogMessage } from '@thermocline/backend'

interface Breakable {
  readonly broken: boolean
}

/**
 * A place in the line of a key, taken before the value was made or read elsewhere: what is stored with it is stored only as long as nobody has
 * invalidated the key since. Whoever still means to store something holds it; when the last one has let go of it and nothing was stored, it is left.
 */
export class LinePlace implements Lease {
  readonly token: string
  readonly wake: LogMessage
  /** The line as it was when it was entered. */
  readonly line: Line
  readonly #lost: () => void
  readonly #left: (place: LinePlace) => void
  #isOpen = true
  #holders = 1
  readonly #fences: Breakable[] = []

  /**
   * @param lost told when nothing can be stored with it any more, because another process has invalidated the key or stored it
   * @param left told when nobody needs it any more
   */
  constructor(token: string, wake: LogMessage, line: Line, lost: () => void, left: (place: LinePlace) => void) {
    this.token = token
    this.wake = wake
    this.line = line
    this.#lost = lost
    this.#left = left
  }

  /** Neither used up nor lost nor left. */
  get isHeld(): boolean {
    return this.#isOpen
  }

  /** @param fence of what is to be stored: broken, this process has invalidated the key itself since */
  hold(fence: Breakable): void {
    this.#holders++
    this.#fences.push(fence)
  }

  release(): void {
    if (--this.#holders > 0 || !this.#isOpen) return
    this.#isOpen = false
    this.#left(this)
  }

  ended(outcome: 'stored' | 'lost' | 'kept'): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (outcome === 'lost' && !this.#fences.some(({ broken }) => broken)) this.#lost()
  }
}
