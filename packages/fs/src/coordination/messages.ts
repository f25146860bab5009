import type { LoggedMessage, LogMessage } from '@thermocline/backend'

/** Messages that are kept for who reads on from an earlier one. */
const MOST_MESSAGES = 100_000
/** Where a log begins: before any message. */
export const BEGINNING = '0.0'

interface DatedMessage extends LoggedMessage {
  /** When it was written, by the machine's clock. */
  readonly at: number
}

/** The messages of a log, as far as they were read. */
export class Messages {
  #messages: DatedMessage[] = []
  #log = ''
  #last = ''
  #begun = BEGINNING
  #count = 0

  /** The log's id. */
  get log(): string {
    return this.#log
  }

  /** The id of the last one; empty: there is none. */
  get last(): string {
    return this.#last
  }

  /** How many were read. */
  get count(): number {
    return this.#count
  }

  /** The last one; of one before all that were read only its id is known. `undefined`: there is none. */
  get end(): LoggedMessage | undefined {
    const last = this.#messages.at(-1)
    if (last !== undefined || this.#last === '') return last
    return { id: this.#last, text: '', position: this.#begun, previous: '', log: this.#log }
  }

  /** Another log begins. */
  begin(log: string): void {
    this.#messages = []
    this.#log = log
    this.#last = ''
    this.#begun = BEGINNING
  }

  /** A file of the log begins. @param last the id of the message before it */
  goOn(last: string, position: string): void {
    this.#last = last
    this.#begun = position
  }

  /** @param mark of its record */
  add({ id, text }: LogMessage, position: string, mark: string): void {
    this.#messages.push({ id, text, position, previous: this.#last, log: this.#log, at: dateIn(mark) })
    this.#last = id
    this.#count++
    if (this.#messages.length > MOST_MESSAGES) this.#messages = this.#messages.slice(-MOST_MESSAGES / 2)
  }

  /** Those after the position; of another log all come after. */
  after(position: string): readonly LoggedMessage[] {
    if (logIn(position) !== this.#log) return this.#messages.slice()
    const at = this.#messages.findLastIndex((message) => !isBefore(position, message.position))
    return this.#messages.slice(at + 1)
  }

  /** A position before all messages of the last so many milliseconds before that one. */
  before(position: string, ms: number): string {
    const last = this.#messages.find((message) => message.position === position)
    if (last === undefined) return BEGINNING
    const first = this.#messages.findIndex(({ at }) => at >= last.at - ms)
    return this.#messages[first - 1]?.position ?? BEGINNING
  }
}

/** A position says the file's number, where in the file, and in which log. */
export function positionOf(number: number, at: number, log: string): string {
  return `${number}.${at}.${log}`
}

/** @param other of the same log */
export function isBefore(position: string, other: string): boolean {
  const [[number = 0, at = 0], [otherNumber = 0, otherAt = 0]] = [position, other].map((one) => one.split('.', 2).map(Number)) as [number[], number[]]
  return number < otherNumber || (number === otherNumber && at < otherAt)
}

function logIn(position: string): string | undefined {
  return position.split('.')[2]
}

/** A mark ends with when it was made. */
function dateIn(mark: string): number {
  return Number.parseInt(mark.slice(mark.indexOf('.') + 1), 36)
}
