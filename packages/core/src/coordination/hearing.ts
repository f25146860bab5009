import { isCacheError, messageOf, type CancelTimer, type Clock, type Coordination, type LoggedMessage, type OperationOptions } from '@thermocline/backend'
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
/** A beat that was appended and is not read within so long: the log is another one than is read. */
const LOST_BEAT_MS = 3000
const LONGEST_BEAT_MS = 10_000
const BEATS_IN_TIME = 3
/** Of what was said before the process began, so many pages are heard at most. */
const MOST_REPEATED_PAGES = 100
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 1000

export interface HearingOptions {
  readonly coordination: Coordination
  readonly clock: Clock
  readonly speaker: Speaker
  readonly trust: Trust
  /** Carries out what another process says. What has begun when it returns is finished when its promise resolves. */
  readonly hear: (message: Message, id: string) => Promise<void> | undefined
  /** Something was missed: what others have invalidated is not known. */
  readonly missed: (why: string) => void
  /** Others are heard from now on, or not any more. */
  readonly changed: (isHearing: boolean, why: string | undefined) => void
  readonly report: (error: unknown, operation: string) => void
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

export class Hearing {
  readonly #options: HearingOptions
  readonly #beats = new Map<string, number>()
  /** Who waits until a beat is heard. */
  readonly #awaited = new Map<string, () => void>()
  readonly #ended = new AbortController()
  #position: string | undefined
  #last = ''
  #gaps = 0
  #foreign = 0
  #lagMs: number | undefined
  #isHearing = false
  #failure: unknown
  #cancelBeat: CancelTimer = () => undefined
  #cancelCheck: CancelTimer = () => undefined
  #reading: Promise<void> | undefined

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

  /** Resolves when everything that was said before this call has been heard and carried out. False: that cannot be known. */
  async caughtUp(): Promise<boolean> {
    const { clock } = this.#options
    let id: string
    try {
      id = await this.#sendBeat()
    } catch {
      return false
    }
    if (!this.#beats.has(id)) return true
    return new Promise((resolve) => {
      const cancel = clock.schedule(LOST_BEAT_MS, () => end(false), { background: true })
      const end = (isHeard: boolean): void => {
        cancel()
        this.#awaited.delete(id)
        resolve(isHeard)
      }
      this.#awaited.set(id, () => end(true))
    })
  }

  start(): void {
    this.#reading ??= this.#read()
  }

  async close(): Promise<void> {
    this.#ended.abort()
    this.#cancelBeat()
    this.#cancelCheck()
    await this.#reading
  }

  get #asking(): OperationOptions {
    return { signal: this.#ended.signal }
  }

  get #isOver(): boolean {
    return this.#ended.signal.aborted
  }

  async #read(): Promise<void> {
    const { coordination, clock, report } = this.#options
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
        if (failures++ === 0 && !isOutage(error)) report(error, 'hear')
        this.#failure = error
        this.#check()
        await this.#rest(clock, Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS))
      }
    }
  }

  /** Begins at the end: nothing that was said before concerns what this process will take in. */
  async #begin(): Promise<void> {
    const { coordination, trust, keepsForLater } = this.#options
    const last = await coordination.end(this.#asking)
    trust.missed()
    if (keepsForLater && last !== undefined && (await this.#repeat(last))) return this.#beat()
    this.#position = last?.position ?? coordination.beginning
    this.#last = last?.id ?? ''
    if (last !== undefined) trust.heard(last)
    this.#beat()
  }

  /** Hears what was said while this process was away: then what it had on disk before can be believed. False: too much was said. */
  async #repeat(last: LoggedMessage): Promise<boolean> {
    const { coordination, trust } = this.#options
    this.#position = coordination.beginning
    this.#last = ''
    for (let pages = 0; pages < MOST_REPEATED_PAGES; pages++) {
      const messages = await coordination.read(this.#position, 0, this.#asking)
      const first = messages.find(({ id }) => id !== '')
      if (pages === 0 && first !== undefined) this.#last = first.previous // what was said before the first one is not known
      const isEnd = messages.some(({ id }) => id === last.id)
      await this.#takeAll(messages)
      if (isEnd || messages.length === 0) return isEnd
    }
    trust.missed()
    return false
  }

  /** Carries out what is said, in order; several at once, and all of it before it counts as heard. */
  async #takeAll(messages: readonly LoggedMessage[]): Promise<void> {
    const underWay: Promise<void>[] = []
    for (const message of messages) {
      const sentAt = this.#beats.get(message.id)
      if (sentAt !== undefined) await Promise.all(underWay.splice(0))
      const work = this.#take(message)
      if (work !== undefined) underWay.push(work)
    }
    await Promise.all(underWay)
  }

  #take(message: LoggedMessage): Promise<void> | undefined {
    const { trust, hear, clock, speaker } = this.#options
    this.#position = message.position
    if (message.id === '') {
      this.#foreign++ // it is nobody's predecessor
      return undefined
    }
    if (message.previous !== this.#last) this.#miss('messages of other processes are gone from the log, or it is another one')
    this.#last = message.id
    trust.heard(message)
    const said = readMessage(message)
    if (said === 'foreign') {
      this.#foreign++
      return undefined
    }
    if (said === 'newer') {
      this.#miss('another process says something that only a newer version of this library understands')
      return undefined
    }
    if (said.by !== speaker.by || said.kind === 'wake') return hear(said, message.id)
    const sentAt = this.#beats.get(message.id)
    if (sentAt === undefined) return undefined
    this.#beats.delete(message.id)
    this.#awaited.get(message.id)?.()
    this.#lagMs = clock.monotonic() - sentAt
    trust.heardAt(sentAt)
    this.#check()
    return undefined
  }

  #miss(why: string): void {
    this.#gaps++
    this.#options.trust.missed()
    this.#options.missed(why)
    this.#beat()
  }

  /** Appends a beat, and the next one in a while. */
  #beat(): void {
    const { clock } = this.#options
    this.#cancelBeat()
    if (this.#isOver) return
    this.#cancelBeat = clock.schedule(this.beatMs, () => this.#beat(), { background: true })
    void this.#sendBeat().catch((error: unknown) => (this.#failure = error)) // whether others are heard shows what it meant
  }

  /** @returns its id */
  async #sendBeat(): Promise<string> {
    const { coordination, clock, speaker } = this.#options
    const message = speaker.say({ kind: 'beat' })
    for (const [id, sentAt] of this.#beats) if (clock.monotonic() - sentAt > this.beatMs * BEATS_IN_TIME) this.#beats.delete(id)
    this.#beats.set(message.id, clock.monotonic())
    await coordination.append(message, this.#asking)
    clock.schedule(LOST_BEAT_MS, () => this.#beats.has(message.id) && void this.#lookAnew(message.id).catch(() => undefined), { background: true })
    return message.id
  }

  /** A beat was appended and not read. Where the end of the log does not follow from what was read, it is another log. */
  async #lookAnew(id: string): Promise<void> {
    if (this.#isOver || this.#position === undefined) return
    const [next] = await this.#options.coordination.read(this.#position, 0, this.#asking)
    if (!this.#beats.delete(id)) return // read meanwhile
    if (next !== undefined) return // the reader is behind, and comes to it
    this.#position = undefined // begins anew with the next round
    this.#miss('the log was lost or begun anew')
  }

  /** Tells when hearing begins or ends, and is called again when it would end. */
  #check(): void {
    const { trust, clock, changed } = this.#options
    const { isHearing } = trust
    if (isHearing !== this.#isHearing) {
      this.#isHearing = isHearing
      changed(isHearing, isHearing || this.#failure === undefined ? undefined : messageOf(this.#failure))
    }
    if (isHearing) this.#failure = undefined
    this.#cancelCheck()
    if (isHearing && !this.#isOver) this.#cancelCheck = clock.schedule(trust.leftMs, () => this.#check(), { background: true })
  }

  #rest(clock: Clock, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#ended
      const cancel = clock.schedule(ms, done, { background: true })
      signal.addEventListener('abort', done, { once: true })
      function done(): void {
        cancel()
        signal.removeEventListener('abort', done)
        resolve()
      }
    })
  }
}

/** What the tier's own breaker tells of. */
function isOutage(error: unknown): boolean {
  return isCacheError(error) && (error.code === 'unavailable' || error.code === 'timeout' || error.code === 'circuit-open')
}
