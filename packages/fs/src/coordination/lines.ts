import { LINE_LIFE_MS, type LogMessage } from '@thermocline/backend'
import type { LogRecord } from './records.js'

/*
 * What the records of a shared log come to: the lines of keys, and the messages. Every process applies the same records in the same order, so all see the same
 * lines. A record is granted or refused when it is applied, never when it is written.
 *
 * A change of an entry (a set or a delete) is two records, one before the file has its name and one after. Between the two nobody's commit is granted: an
 * entry and its line cannot be changed in one step. Before it goes on, whoever changes or empties removes the files of those whose commit was granted and
 * whose rename may still come.
 */

/** Whoever has stood still for so long between the two records of a change or a commit has ended. */
export const LONGEST_CHANGE_MS = 10_000

interface Standing {
  readonly token: string
  times: number
}

/** A commit that was granted, or a change that was begun. */
interface Begun {
  /** The file that is to get the entry's name; empty: it is a removal. */
  readonly temporary: string
  /** What others are told at its end. */
  readonly message: LogMessage
  readonly seenAt: number
  /** Of a commit: the line was emptied since, and its file removed. */
  isVoid?: boolean
}

/** One key's line. */
class KeyLine {
  readonly tokens: Standing[] = []
  /** By the token whose commit was granted. */
  readonly committing = new Map<string, Begun>()
  /** By a mark of their own. */
  readonly changes = new Map<string, Begun>()
  changedAt = 0

  /** Whether a change or a commit has not ended. */
  get isBegun(): boolean {
    return this.committing.size + this.changes.size > 0
  }

  get isEmpty(): boolean {
    return this.tokens.length === 0 && !this.isBegun
  }

  placeOf(token: string): number {
    return this.tokens.findIndex((one) => one.token === token)
  }

  remove(token: string): boolean {
    const at = this.placeOf(token)
    if (at >= 0) this.tokens.splice(at, 1)
    return at === 0
  }
}

/** A line as it is saved: its name, how long ago it was changed, and what stands in it. */
type SavedLine = readonly [line: string, ageMs: number, tokens: readonly (readonly [string, number])[], committing: readonly SavedBegun[], changes: readonly SavedBegun[]]
type SavedBegun = readonly [mark: string, temporary: string, id: string, text: string]

/** What has become of a record. */
export interface Outcome {
  readonly isGranted: boolean
  /** Files that are not to get the entry's name any more: whoever has written the record removes them before it goes on. */
  readonly victims: readonly string[]
  /** What is said with it. */
  readonly message?: LogMessage | undefined
}

const GRANTED: Outcome = { isGranted: true, victims: [] }
const REFUSED: Outcome = { isGranted: false, victims: [] }

/** A place in a key's line, as it is seen. */
export interface Seen {
  readonly first: string | undefined
  readonly isFirst: boolean
  readonly isListed: boolean
}

export class Lines {
  readonly #now: () => number
  readonly #lines = new Map<string, KeyLine>()

  /** @param now by the clock's `monotonic` */
  constructor(now: () => number) {
    this.#now = now
  }

  /** @param line of a key, as {@link lineId} has it */
  seen(line: string, token: string): Seen {
    const tokens = this.#lines.get(line)?.tokens ?? []
    const [first] = tokens
    return { first: first && textOf(first), isFirst: first?.token === token, isListed: tokens.some((one) => one.token === token) }
  }

  /** A change or a commit of the key that its process has not ended for too long; its file is not to get the entry's name any more. */
  abandoned(line: string): { readonly mark: string; readonly temporary: string } | undefined {
    const found = this.#lines.get(line)
    if (found?.isBegun !== true) return undefined // nearly always
    for (const [mark, { temporary, seenAt }] of [...found.changes, ...found.committing]) if (this.#now() - seenAt >= LONGEST_CHANGE_MS) return { mark, temporary }
    return undefined
  }

  /** Lines with such a change or commit. */
  abandonedLines(): readonly string[] {
    const lines: string[] = []
    for (const line of this.#lines.keys()) if (this.abandoned(line) !== undefined) lines.push(line)
    return lines
  }

  /** Applies what stands in the log. @returns `undefined` for a kind that this release does not know */
  apply([kind, , ...rest]: LogRecord): Outcome | undefined {
    const [line = '', token = '', ...more] = rest
    switch (kind) {
      case 'enter':
        return this.#enter(line, token)
      case 'renew':
        return this.#renew(line, token, Number(more[0]))
      case 'take-over':
        return this.#takeOver(line, token, more[0] ?? '')
      case 'leave':
        return this.#leave(line, token, messageIn(more))
      case 'commit':
        return this.#commit(line, token, more[0] ?? '', messageIn(more.slice(1)))
      case 'committed':
        return this.#committed(line, token, more[0] === 'stored', messageIn(more.slice(1)))
      case 'use':
        return this.#use(line, token, messageIn(more))
      case 'change':
        return this.#begin(line, token, more[0] ?? '', messageIn(more.slice(1)))
      case 'changed':
        return this.#end(line, token)
      case 'abandon':
        return this.#abandon(line, token)
      case 'empty':
        return this.#empty([line], messageIn(rest.slice(1)))
      case 'empty-under':
        return this.#empty([...this.#lines.keys()].filter((name) => name.startsWith(line)), undefined)
      case 'say':
        return { ...GRANTED, message: messageIn(rest) }
      default:
        return undefined
    }
  }

  /** Everything that stands, for who reads from here on; without what processes have left that ended long ago. */
  save(): string {
    const now = this.#now()
    const saved: SavedLine[] = []
    for (const [line, { tokens, committing, changes, changedAt, isBegun }] of this.#lines) {
      const ageMs = Math.round(now - changedAt)
      if (ageMs <= LINE_LIFE_MS || isBegun) saved.push([line, ageMs, tokens.map(({ token, times }) => [token, times]), savedOf(committing), savedOf(changes)])
    }
    return JSON.stringify(saved)
  }

  /** @param saved what {@link save} has given */
  restore(saved: string): void {
    const known = new Map(this.#lines)
    this.#lines.clear()
    const now = this.#now()
    for (const [line, ageMs, tokens, committing, changes] of JSON.parse(saved) as SavedLine[]) {
      const restored = this.#lineOf(line)
      restored.changedAt = now - ageMs
      const seen = known.get(line)
      for (const [token, times] of tokens) restored.tokens.push({ token, times })
      for (const [token, temporary, id, text] of committing) restored.committing.set(token, seen?.committing.get(token) ?? { temporary, message: { id, text }, seenAt: now })
      for (const [change, temporary, id, text] of changes) restored.changes.set(change, seen?.changes.get(change) ?? { temporary, message: { id, text }, seenAt: now })
    }
  }

  #enter(line: string, token: string): Outcome {
    const { tokens } = this.#touched(line)
    if (!tokens.some((one) => one.token === token)) tokens.push({ token, times: 0 })
    return GRANTED
  }

  #renew(line: string, token: string, times: number): Outcome {
    const standing = this.#lines.get(line)?.tokens.find((one) => one.token === token)
    if (standing === undefined) return REFUSED
    this.#touched(line)
    standing.times = times
    return GRANTED
  }

  #takeOver(line: string, token: string, first: string): Outcome {
    if (this.seen(line, token).first !== first) return REFUSED
    const taken = this.#touched(line)
    taken.tokens.shift()
    taken.remove(token)
    taken.tokens.unshift({ token, times: 0 })
    return GRANTED
  }

  /** What was granted to it is not taken back: its file may get its name still. */
  #leave(line: string, token: string, wake: LogMessage): Outcome {
    const left = this.#lines.get(line)
    const wasFirst = left?.remove(token) === true
    const message = wasFirst && (left?.tokens.length ?? 0) > 0 ? wake : undefined
    this.#forget(line)
    return { ...GRANTED, message }
  }

  /** Refused, it is out of the line. */
  #refuse(line: string, token: string, wake: LogMessage): Outcome {
    const { message } = this.#leave(line, token, wake)
    return { ...REFUSED, message }
  }

  #commit(line: string, token: string, temporary: string, wake: LogMessage): Outcome {
    const committing = this.#lines.get(line)
    if (committing === undefined || committing.isBegun || committing.placeOf(token) < 0) return this.#refuse(line, token, wake)
    this.#touched(line).committing.set(token, { temporary, message: wake, seenAt: this.#now() })
    return GRANTED
  }

  #committed(line: string, token: string, isStored: boolean, wake: LogMessage): Outcome {
    const stored = this.#lines.get(line)
    const granted = stored?.committing.get(token)
    const wasGranted = granted !== undefined && granted.isVoid !== true
    stored?.committing.delete(token)
    if (!isStored) return this.#leave(line, token, wake)
    if (stored === undefined || !wasGranted) return GRANTED // somebody has ended it since
    return this.#stored(line, stored, token, wake)
  }

  #use(line: string, token: string, wake: LogMessage): Outcome {
    const used = this.#lines.get(line)
    if (used === undefined || used.changes.size > 0 || used.placeOf(token) < 0) return this.#refuse(line, token, wake)
    return this.#stored(line, used, token, wake)
  }

  #stored(line: string, stored: KeyLine, token: string, wake: LogMessage): Outcome {
    const others = stored.tokens.some((one) => one.token !== token)
    stored.tokens.length = 0
    this.#forget(line)
    return { ...GRANTED, message: others ? wake : undefined }
  }

  #begin(line: string, change: string, temporary: string, message: LogMessage): Outcome {
    const changing = this.#touched(line)
    changing.tokens.length = 0
    changing.changes.set(change, { temporary, message, seenAt: this.#now() })
    return { isGranted: true, victims: victimsOf(changing) }
  }

  #end(line: string, change: string): Outcome {
    const changed = this.#lines.get(line)
    const begun = changed?.changes.get(change)
    if (changed === undefined || begun === undefined) return REFUSED
    changed.committing.clear() // whoever began the change has removed their files
    return this.#over(line, changed, change, begun)
  }

  /** A change may have been carried out, or in part: it is as its end. */
  #abandon(line: string, mark: string): Outcome {
    const abandoned = this.#lines.get(line)
    const change = abandoned?.changes.get(mark)
    if (abandoned !== undefined && change !== undefined) return this.#over(line, abandoned, mark, change)
    abandoned?.committing.delete(mark)
    this.#forget(line)
    return GRANTED
  }

  /** Whoever has entered since the change began may not store, and all are told. */
  #over(line: string, changed: KeyLine, change: string, { message }: Begun): Outcome {
    changed.changes.delete(change)
    changed.tokens.length = 0
    this.#forget(line)
    return { ...GRANTED, message }
  }

  #empty(lines: readonly string[], message: LogMessage | undefined): Outcome {
    const victims: string[] = []
    for (const line of lines) {
      const emptied = this.#lines.get(line)
      if (emptied === undefined) continue
      emptied.tokens.length = 0
      victims.push(...victimsOf(emptied))
      for (const commit of emptied.committing.values()) commit.isVoid = true
      this.#forget(line)
    }
    return { isGranted: true, victims, message: message?.id === '' ? undefined : message }
  }

  #lineOf(line: string): KeyLine {
    let found = this.#lines.get(line)
    if (found === undefined) this.#lines.set(line, (found = new KeyLine()))
    return found
  }

  #touched(line: string): KeyLine {
    const found = this.#lineOf(line)
    found.changedAt = this.#now()
    return found
  }

  #forget(line: string): void {
    if (this.#lines.get(line)?.isEmpty === true) this.#lines.delete(line)
  }
}

/** Who is first, and how often that was renewed. */
function textOf({ token, times }: Standing): string {
  return times === 0 ? token : `${token}.${times}`
}

function victimsOf({ committing }: KeyLine): readonly string[] {
  return [...committing.values()].map(({ temporary }) => temporary)
}

function savedOf(begun: ReadonlyMap<string, Begun>): readonly SavedBegun[] {
  return [...begun].map(([mark, { temporary, message: { id, text } }]) => [mark, temporary, id, text])
}

function messageIn([id = '', text = '']: readonly string[]): LogMessage {
  return { id, text }
}
