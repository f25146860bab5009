import { isCacheError, messageOf, type CacheError, type CancelTimer, type Clock, type Coordination, type LoggedMessage, type OperationOptions } from '@thermocline/backend'
import { readMessage, type Message, type Speaker } from './messages.js'
import type { Trust } from './trust.js'

/*
 * Reads what other processes say, and notices when it cannot.
 *
 * Each message names the one before it. Where that is not the last one that was read, something was missed: the log was trimmed, lost or begun anew, or
 * another server is the master. Then nothing of the process's own is believed any more, and reading goes on from there.
 *
 * A reader that hears nothing does not know whether nothing is said. So each process appends a beat now and then: a write, which a server that is no
 * master any more refuses. When the beat is read, everything before it has been, and the process is up to date as of the instant when it sent the beat.
 */

/** How long a reader waits in the store for the next message. */
const WAIT_MS = 1000
/** A beat that was appended and is not read within so long: perhaps the log is another one than is read. */
const LOST_BEAT_MS = 3000
const LONGEST_BEAT_MS = 10_000
const BEATS_IN_TIME = 3
/** What was said so long before is heard as well: what it was about may have been on its way. */
const UNDER_WAY_MS = 2000
/** Of what was said before the process began, so many pages are heard at most. */
const MOST_REPEATED_PAGES = 100
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 1000
/** How long closing waits for a read that does not end. */
const LAST_READ_MS = 250

export interface HearingOptions {
  readonly coordination: Coordination
  readonly clock: Clock
  readonly speaker: Speaker
  readonly trust: Trust
  /** Carries out what another process says, or has said before this one began (`isRepeated`). What has begun when it returns is finished when its promise resolves. */
  readonly hear: (message: Message, id: string, isRepeated: boolean) => Promise<void> | undefined
  /** A change that this process has told of was read. */
  readonly heardOwn: (message: Message, id: string) => void
  /** A beat that was sent then was read, and all before it. */
  readonly upToDate: (sentAt: number) => void
  /** From now on others are heard. Not for the first time: what they have said while something that was begun before was under way is not known. */
  readonly beginsToHear: (isFirst: boolean) => void
  /** Nothing that was begun before may be stored: what others have said meanwhile is not known. */
  readonly distrust: () => void
  /** Something was missed. `isLost`: what this process has said may be gone as well. */
  readonly missed: (why: string, isLost: boolean) => void
  /** Others are heard from now on, or not any more. */
  readonly changed: (isHearing: boolean, why: string | undefined) => void
  readonly report: (error: unknown, operation: string) => void
  /** The store does not allow it. */
  readonly refused: (error: CacheError) => void
  /** Whether anything of its own outlives the process. */
  readonly keepsForLater: boolean
}

export interface HearingStats {
  readonly position: string
  /** How often something was missed. */
  readonly gaps: number
  /** Messages that were no message of this library. */
  readonly foreign: number
  /** How long a beat takes from being sent to being read, in milliseconds. */
  readonly lagMs: number | undefined
}

/** A beat on its way. */
interface Beat {
  readonly sentAt: number
  cancel: CancelTimer
  /** Who waits for it: whether it was read. */
  readonly told: ((isRead: boolean) => void)[]
}

export class Hearing {
  readonly #options: HearingOptions
  readonly #beats = new Map<string, Beat>()
  readonly #ended = new AbortController()
  #position: string | undefined
  #last = ''
  #gaps = 0
  #foreign = 0
  #lagMs: number | undefined
  #isHearing = false
  #hasBegun = false
  #isRepeating = false
  #failure: unknown
  #cancelBeat: CancelTimer = () => undefined
  #cancelCheck: CancelTimer = () => undefined
  #reading: Promise<void> | undefined
  #wake = (): void => undefined
  /** The next beat that somebody waits for, until it is sent. */
  #awaited: Promise<boolean> | undefined

  constructor(options: HearingOptions) {
    this.#options = options
  }

  /** How often a beat is sent, in milliseconds. */
  get beatMs(): number {
    return Math.min(LONGEST_BEAT_MS, this.#options.trust.maxStalenessMs / BEATS_IN_TIME)
  }

  get stats(): HearingStats {
    return { position: this.#position ?? this.#options.coordination.beginning, gaps: this.#gaps, foreign: this.#foreign, lagMs: this.#lagMs }
  }

  get isHearing(): boolean {
    return this.#isHearing && this.#options.trust.isHearing
  }

  start(): void {
    this.#reading ??= this.#read()
  }

  /** Resolves when everything that was said before this call has been heard and carried out. False: that is not known. */
  caughtUp(): Promise<boolean> {
    this.#awaited ??= Promise.resolve().then(() => {
      this.#awaited = undefined
      return new Promise<boolean>((resolve) => void this.#sendBeat(resolve).catch(() => resolve(false)))
    })
    return this.#awaited
  }

  /** Ends it. The store's coordination is to be closed then; {@link ended} waits for what was asked of it. */
  close(): void {
    this.#ended.abort()
    this.#wake()
    this.#cancelBeat()
    this.#cancelCheck()
    for (const id of [...this.#beats.keys()]) this.#dropBeat(id, false)
  }

  async ended(): Promise<void> {
    await Promise.race([this.#reading, this.#pause(LAST_READ_MS)])
  }

  get #asking(): OperationOptions {
    return { signal: this.#ended.signal }
  }

  get #isOver(): boolean {
    return this.#ended.signal.aborted
  }

  async #read(): Promise<void> {
    const { coordination, report } = this.#options
    let failures = 0
    while (!this.#isOver) {
      try {
        if (this.#position === undefined) await this.#begin()
        else if (failures > 0) this.#beat() // it can be asked again: whether others are heard is to be known soon
        failures = 0
        const messages = await coordination.read(this.#position as string, WAIT_MS, this.#asking)
        await this.#takeAll(messages)
        this.#check()
      } catch (error) {
        if (this.#isOver) return
        if (failures++ === 0 && !isOutage(error) && !isRefused(error)) report(error, 'hear')
        this.#failed(error)
        this.#check()
        await this.#rest(Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS))
      }
    }
  }

  /** Begins at the end, when what was said before and concerns what this process has already was heard. */
  async #begin(): Promise<void> {
    const { coordination, trust, beginsToHear } = this.#options
    const last = await coordination.end(this.#asking)
    const isFirst = !this.#hasBegun
    this.#hasBegun = true
    if (!isFirst) trust.missed()
    beginsToHear(isFirst)
    const from = last && this.#repeatedFrom(last, isFirst)
    if (last === undefined || from === undefined || !(await this.#repeat(from, last))) {
      this.#position = last?.position ?? coordination.beginning
      this.#last = last?.id ?? ''
      if (last !== undefined) trust.heard(last)
    }
    this.#beat()
  }

  /** From where on is to be heard what was said before: all, where something is kept from earlier; at first since this process has begun. */
  #repeatedFrom({ position }: LoggedMessage, isFirst: boolean): string | undefined {
    const { coordination, trust, keepsForLater } = this.#options
    if (keepsForLater) return coordination.beginning
    return isFirst ? coordination.before(position, trust.ageMs + UNDER_WAY_MS) : undefined
  }

  /** Hears what was said from there on: then what this process has from before can be believed. False: too much was said. */
  async #repeat(from: string, last: LoggedMessage): Promise<boolean> {
    const { coordination } = this.#options
    this.#position = from
    this.#last = ''
    this.#isRepeating = true
    try {
      for (let pages = 0; pages < MOST_REPEATED_PAGES; pages++) {
        const messages = await coordination.read(this.#position, 0, this.#asking)
        const first = messages.find(({ id }) => id !== '')
        if (pages === 0 && first !== undefined) this.#last = first.previous // what was said before the first one is not known
        const isEnd = messages.some(({ id }) => id === last.id)
        await this.#takeAll(messages)
        if (isEnd) return true
        if (messages.length === 0) break // it is gone
      }
    } finally {
      this.#isRepeating = false
    }
    this.#distrust()
    return false
  }

  /** Carries out what is said, in order; several at once, and all of it before it counts as heard. */
  async #takeAll(messages: readonly LoggedMessage[]): Promise<void> {
    const underWay: Promise<void>[] = []
    for (const message of messages) {
      if (this.#beats.has(message.id)) await Promise.all(underWay.splice(0))
      const work = this.#take(message)
      if (work !== undefined) underWay.push(work)
    }
    await Promise.all(underWay)
  }

  #take(message: LoggedMessage): Promise<void> | undefined {
    const { trust, hear, heardOwn, upToDate, clock, speaker } = this.#options
    this.#position = message.position
    if (message.id === '') {
      this.#foreign++ // it is nobody's predecessor
      return undefined
    }
    if (message.previous !== this.#last) this.#miss('messages of other processes are gone from the log, or it is another one', true)
    this.#last = message.id
    trust.heard(message)
    const said = readMessage(message)
    if (said === 'foreign') {
      this.#foreign++
      return undefined
    }
    if (said === 'newer') {
      this.#miss('another process says something that only a newer version of this library understands', false)
      return undefined
    }
    if (said.by !== speaker.by || said.kind === 'wake') return hear(said, message.id, this.#isRepeating)
    heardOwn(said, message.id)
    const beat = this.#beats.get(message.id)
    if (beat === undefined) return undefined
    this.#lagMs = clock.monotonic() - beat.sentAt
    trust.heardAt(beat.sentAt)
    this.#dropBeat(message.id, true)
    this.#check()
    upToDate(beat.sentAt)
    return undefined
  }

  #miss(why: string, isLost: boolean): void {
    this.#gaps++
    this.#distrust()
    this.#options.missed(why, isLost)
    this.#beat()
  }

  #distrust(): void {
    this.#options.trust.missed()
    this.#options.distrust()
  }

  /** Appends a beat, and the next one in a while. */
  #beat(): void {
    const { clock } = this.#options
    this.#cancelBeat()
    if (this.#isOver) return
    this.#cancelBeat = clock.schedule(this.beatMs, () => this.#beat(), { background: true })
    this.#sendBeat().catch((error: unknown) => this.#failed(error)) // whether others are heard shows what it meant
  }

  #failed(error: unknown): void {
    if (this.#isOver) return
    this.#failure = error
    this.#options.trust.begun()
    if (isRefused(error)) this.#options.refused(error)
  }

  async #sendBeat(told?: (isRead: boolean) => void): Promise<void> {
    if (this.#isOver) return told?.(false)
    const { coordination, clock, speaker } = this.#options
    const message = speaker.say({ kind: 'beat' })
    const now = clock.monotonic()
    for (const [id, { sentAt }] of this.#beats) if (now - sentAt > this.beatMs * BEATS_IN_TIME && now - sentAt > LOST_BEAT_MS) this.#dropBeat(id, false)
    this.#beats.set(message.id, { sentAt: now, cancel: () => undefined, told: told === undefined ? [] : [told] })
    try {
      await coordination.append(message, this.#asking)
    } catch (error) {
      this.#dropBeat(message.id, false)
      throw error
    }
    const beat = this.#beats.get(message.id)
    if (this.#isOver) return this.#dropBeat(message.id, false)
    if (beat !== undefined) beat.cancel = clock.schedule(LOST_BEAT_MS, () => void this.#lookAnew(message.id).catch(() => undefined), { background: true })
  }

  #dropBeat(id: string, isRead: boolean): void {
    const beat = this.#beats.get(id)
    if (beat === undefined) return
    this.#beats.delete(id)
    beat.cancel()
    for (const tell of beat.told) tell(isRead)
  }

  /** A beat was appended and not read. Where nothing follows what was read, it is another log. */
  async #lookAnew(id: string): Promise<void> {
    if (this.#isOver || this.#position === undefined) return this.#dropBeat(id, false)
    const [next] = await this.#options.coordination.read(this.#position, 0, this.#asking)
    if (next !== undefined || !this.#beats.has(id)) return // the reader is behind, and comes to it, or has
    this.#dropBeat(id, false)
    this.#position = undefined // begins anew with the next round
    this.#miss('the log was lost or begun anew', true)
  }

  /** Tells when hearing begins or ends, and is called again when it would end. */
  #check(): void {
    if (this.#isOver) return
    const { trust, clock, changed } = this.#options
    const { isHearing } = trust
    if (isHearing !== this.#isHearing) {
      this.#isHearing = isHearing
      changed(isHearing, isHearing || this.#failure === undefined ? undefined : messageOf(this.#failure))
    }
    if (isHearing) this.#failure = undefined
    this.#cancelCheck()
    if (isHearing) this.#cancelCheck = clock.schedule(trust.leftMs, () => this.#check(), { background: true })
  }

  /** A while, or until it is closed. */
  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.schedule(ms, () => resolve(), { background: true })
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.schedule(ms, resolve, { background: true }))
  }
}

/** Whether the store says that it is not allowed, today and tomorrow. */
export function isRefused(error: unknown): error is CacheError {
  return isCacheError(error) && error.code === 'misconfigured'
}

/** What the tier's own breaker tells of. */
function isOutage(error: unknown): boolean {
  return isCacheError(error) && (error.code === 'unavailable' || error.code === 'timeout' || error.code === 'circuit-open')
}
