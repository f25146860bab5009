import { StrangeReply } from './errors.js'
import { asksForValues, heard, isSoundError, shapeOf, shapeOfForeign, TYPE, type Asked, type Shape } from './reply-shapes.js'
import { isSoundLine, mayBeNull, PUSH, typeIn3 } from './third-protocol.js'

/*
 * Stands between a socket and the client: only replies that fit get through.
 *
 * Problem. The client believes what a server says. It throws where nobody can catch it for a null that nobody asked for, keeps whatever length a
 * value claims, and goes on where replies no longer belong to their requests. And a socket gives 64 KB at a time, each in memory of its own, and
 * the client joins them when the last has come: for a value of 1 MB twice its bytes are allocated, touched for the first time and collected,
 * which takes longer than all else about it.
 *
 * Approach. Each reply's first lines are read as they come, with a stack of arrays that are open; types, lengths, depth and totals are checked, and
 * the shape by the command that waits for it. What does not fit is refused: the connection is left and nothing more is passed on. Everything
 * else is passed on in its order. The first line of a value says how long it is, so there is memory for it before most of its bytes have come, and they
 * are read right into it (`onread` of `net.connect`). Everything else is read into one buffer, always the same. A value that is larger than
 * this process stores is somebody else's: its bytes are dropped and a note stands in its place, so that it is a miss.
 *
 * Rejected: guards around each place of the client that throws (there were four, and each found its next), and a parser of replies instead of the client's.
 */

/** What is read at a time where no large value is expected. */
const READ_BYTES = 64 * 1024
/** Values from this size on are put together here. */
const LARGE_BYTES = 32 * 1024
/** More than the payload of a value: its frame. */
const HEADER_BYTES = 64 * 1024
/** The largest value a server has. */
const LARGEST_BYTES = 512 * 1024 ** 2 + HEADER_BYTES
/** The longest line of text. */
const LONGEST_LINE_BYTES = 16 * 1024
/** The longest line with a number. */
const LONGEST_NUMBER_BYTES = 24
const MOST_DEPTH = 8
/** Parts of a reply: the slots of a cluster that are spread as far as they can be, each with a few nodes. */
const MOST_PARTS = 1_000_000
/** Of replies that are no values. */
const MOST_BYTES = 32 * 1024 ** 2
/** The same for a client of the user's, which may have asked for anything. */
const MOST_FOREIGN_DEPTH = 64
const MOST_FOREIGN_PARTS = 64_000_000
const MOST_FOREIGN_BYTES = 4 * 1024 ** 3
/** So many bytes of a reply are progress; a server that sends them one by one makes none. */
const PROGRESS_BYTES = 1024

const CR = 13
const LF = 10
const ZERO = 48
const NULL = -1
const MAP = 0x25
const NULL_OF_3 = 0x5f

/** Stands in the place of a value that is larger than this process stores. No frame begins like that. */
export const TOO_LARGE = Buffer.from('thermocline: larger than maxPayloadBytes')
const NOTE = Buffer.from(`$${TOO_LARGE.length}\r\n${TOO_LARGE.toString()}\r\n`)

const NO_MEMORY = Buffer.alloc(0)
const NOBODY: Asked = { name: '', args: [] }

export interface ReplyFilterOptions {
  /** Larger payloads are not stored by this process. */
  readonly maxPayloadBytes: number
  /** What has come and fits. May hold a part of a reply. */
  readonly pass: (bytes: Buffer) => void
  /** Called once; nothing is passed on any more. */
  readonly refuse: (reason: Error) => void
  /** A reply has come, or another part of a long one. */
  readonly moved: () => void
  /** Whether the client has left: it has ended its side, and waits for nothing that still comes. */
  readonly hasLeft: () => boolean
  /** For a client of the user's: it may speak version 3 of the protocol, and have asked for anything. */
  readonly isForeign?: boolean | undefined
}

/** Whoever waits for replies: a client of ioredis. */
export interface Asking {
  readonly commandQueue: { readonly length: number; peekAt(at: number): { readonly command: Asked } | undefined }
  readonly condition?: { readonly subscriber: unknown } | null
  readonly status?: string
}

export class ReplyFilter {
  readonly #options: ReplyFilterOptions
  readonly #isForeign: boolean
  readonly #longestBytes: number
  readonly #mostParts: number
  readonly #mostDepth: number
  readonly #common: Buffer
  #asking: Asking | undefined
  /** Complete replies that are not passed on yet. */
  #ahead = 0
  #asked: Asked = NOBODY
  #shape: Shape | undefined
  /** Whether it is a message of version 3, and of which kind. */
  #isPush = false
  #pushed = ''
  /** How many items the open arrays have, and how many are to come, outermost first. */
  readonly #sizes: number[] = []
  readonly #left: number[] = []
  /** Of this reply. */
  #parts = 0
  #bytes = 0
  /** A large value that is not complete, with its first line. */
  #value: Buffer | undefined
  #filled = 0
  /** How many bytes of a bulk string and its end are to come. */
  #before = 0
  /** Whether they are dropped. */
  #drops = false
  /** The beginning of a line, kept until all of it is there. */
  #line: Buffer | undefined
  #sinceProgress = 0
  #hasMoved = false
  #isStopped = false
  #progress = 0

  constructor(options: ReplyFilterOptions) {
    this.#options = options
    this.#isForeign = options.isForeign === true
    this.#longestBytes = this.#isForeign ? LARGEST_BYTES : options.maxPayloadBytes + HEADER_BYTES
    this.#mostParts = this.#isForeign ? MOST_FOREIGN_PARTS : MOST_PARTS
    this.#mostDepth = this.#isForeign ? MOST_FOREIGN_DEPTH : MOST_DEPTH
    this.#common = this.#isForeign ? NO_MEMORY : Buffer.allocUnsafeSlow(READ_BYTES)
  }

  /** Grows with each progress. */
  get progress(): number {
    return this.#progress
  }

  /** From now on replies may come, to what this client has asked. */
  follow(asking: Asking): void {
    this.#asking = asking
  }

  /** Where to read to next. */
  readonly memory = (): Buffer => this.#value?.subarray(this.#filled) ?? this.#common

  /** So many bytes have been read into {@link memory}. */
  read(length: number): void {
    if (this.#isStopped) return
    if (this.#value === undefined) this.#look(this.#common.subarray(0, length))
    else this.#fill(this.#value, length)
    this.#note(length)
  }

  /** Looks at bytes that the socket has given, instead of {@link read}. */
  take(bytes: Buffer): void {
    if (this.#isStopped) return
    this.#look(bytes)
    this.#note(bytes.length)
  }

  #note(length: number): void {
    this.#sinceProgress += length
    if (!this.#hasMoved && this.#sinceProgress < PROGRESS_BYTES) return
    this.#hasMoved = false
    this.#sinceProgress = 0
    this.#progress++
    this.#options.moved()
  }

  #look(came: Buffer): void {
    const bytes = this.#line === undefined ? came : Buffer.concat([this.#line, came])
    this.#line = undefined
    let from = 0
    let at = 0
    while (at < bytes.length) {
      if (this.#before > 0) {
        const part = Math.min(this.#before, bytes.length - at)
        if (!this.#endsWell(bytes, at, part)) return
        this.#before -= part
        at += part
        if (this.#drops) from = at
        if (this.#before > 0) continue
        this.#close()
        if (!this.#drops) continue
        this.#drops = false
        this.#pass(Buffer.from(NOTE))
        continue
      }
      const written = bytes[at] as number
      const type = this.#isForeign ? typeIn3(written) : written
      const end = bytes.indexOf(LF, at) + 1
      if (end === 0) {
        if (bytes.length - at > longestLine(type)) return this.#refuse('what is not of its protocol')
        this.#passCopy(bytes, from, at)
        this.#line = Buffer.from(bytes.subarray(at))
        return
      }
      if (end - at > longestLine(type) || bytes[end - 2] !== CR) return this.#refuse('what is not of its protocol')
      if (this.#left.length === 0) {
        if (from < at && (this.#isForeign || this.#ahead >= (this.#asking?.commandQueue.length ?? 0))) {
          this.#passCopy(bytes, from, at) // how many wait is known when those before have their replies
          from = at
        }
        if (!this.#begin(written === PUSH)) return
      }
      if (written !== type && !this.#isSoundIn3(bytes, at, end)) return this.#refuse('what is not of its protocol')
      switch (type) {
        case TYPE.bulk: {
          const size = sizeIn(bytes, at + 1, end - 2)
          const isTooLarge = size > this.#longestBytes && !this.#isForeign && asksForValues(this.#asked)
          if (!this.#fits(type, size, size > LARGEST_BYTES || (!isTooLarge && (this.#bytes += Math.max(0, size)) > this.#mostBytes))) return
          if (this.#isPush && !this.#maySay(bytes, end, size)) return this.#refuse('a message to nobody')
          if (size === NULL) {
            at = end
            this.#close()
            continue
          }
          if (isTooLarge) {
            this.#passCopy(bytes, from, at)
            this.#drops = true
            from = end
          } else if (size >= LARGE_BYTES && end + size + 2 > bytes.length && size <= this.#longestBytes && !this.#isForeign) {
            this.#passCopy(bytes, from, at)
            const value = Buffer.allocUnsafeSlow(end - at + size + 2)
            this.#value = value
            return this.#fill(value, bytes.copy(value, 0, at))
          }
          this.#before = size + 2
          at = end
          continue
        }
        case TYPE.array: {
          const size = sizeIn(bytes, at + 1, end - 2) * (written === MAP ? 2 : 1)
          if (!this.#fits(type, size, size > this.#mostParts || this.#left.length >= this.#mostDepth)) return
          at = end
          if (size > 0) {
            this.#sizes.push(size)
            this.#left.push(size)
          } else this.#close()
          continue
        }
        case TYPE.number: {
          if (!this.#fits(type, numberIn(bytes, at + 1, end - 2), false)) return
          at = end
          this.#close()
          continue
        }
        case TYPE.text: {
          if (bytes.indexOf(CR, at) !== end - 2) return this.#refuse('a line that is none')
          this.#bytes += end - at
          if (this.#isPush && written === NULL_OF_3 && !this.#maySay(bytes, end, NULL)) return this.#refuse('a message to nobody')
          if (!this.#fits(type, 0, this.#bytes > this.#mostBytes)) return
          at = end
          this.#close()
          continue
        }
        case TYPE.error: {
          if (bytes.indexOf(CR, at) !== end - 2) return this.#refuse('a line that is none')
          if (this.#left.length > 0 && !this.#isForeign) return this.#refuse('an error within a reply')
          if (!isSoundError(bytes.toString('latin1', at, end - 2))) return this.#refuse('a redirection to nowhere')
          at = end
          this.#close()
          continue
        }
        default: // refused above: no line may be as long as this one
          return
      }
    }
    this.#passCopy(bytes, from, at)
  }

  /** A reply begins: somebody has to wait for it, or to listen. */
  #begin(isPush: boolean): boolean {
    const { commandQueue, condition, status } = this.#asking ?? {}
    const asked = commandQueue?.peekAt(this.#ahead)?.command
    const listens = condition?.subscriber !== undefined && condition.subscriber !== false && condition.subscriber !== null
    if (asked === undefined && !listens && !isPush && !(this.#isForeign && status === 'monitoring')) {
      if (this.#options.hasLeft()) this.#stop()
      else this.#refuse('what it was not asked for')
      return false
    }
    this.#isPush = isPush
    this.#pushed = ''
    this.#asked = asked ?? NOBODY
    if (this.#isForeign) this.#shape = listens || isPush ? undefined : shapeOfForeign(this.#asked)
    else this.#shape = listens ? heard : shapeOf(this.#asked)
    this.#parts = 0
    this.#bytes = 0
    return true
  }

  #isSoundIn3(bytes: Buffer, at: number, end: number): boolean {
    return isSoundLine(bytes.toString('latin1', at, end - 2)) && (bytes[at] !== PUSH || this.#left.length === 0)
  }

  /** Whether a part of a push may be null: the client takes most of them for text. */
  #maySay(bytes: Buffer, start: number, size: number): boolean {
    if (this.#left.length !== 1) return true
    const index = (this.#sizes[0] as number) - (this.#left[0] as number)
    if (index === 0 && size >= 0) this.#pushed = bytes.toString('latin1', start, Math.min(start + size, start + LONGEST_NUMBER_BYTES))
    return size >= 0 || mayBeNull(this.#pushed, index)
  }

  get #mostBytes(): number {
    if (this.#isForeign) return MOST_FOREIGN_BYTES
    return asksForValues(this.#asked) ? this.#longestBytes * Math.max(1, this.#asked.args.length) : MOST_BYTES
  }

  /** @param exceeds whether it is more than anybody has asked for */
  #fits(type: number, size: number, exceeds: boolean): boolean {
    if (Number.isNaN(size)) this.#refuse('a number that is none')
    else if (exceeds || ++this.#parts > this.#mostParts) this.#refuse('more than it was asked for')
    else {
      const depth = this.#left.length
      const index = depth === 0 ? 0 : (this.#sizes[depth - 1] as number) - (this.#left[depth - 1] as number)
      if (this.#shape?.(this.#asked, depth, index, type, size) !== false) return true
      this.#refuse('an answer to something else')
    }
    return false
  }

  /** A part of a reply is complete, and with it perhaps the arrays around it, and the reply. */
  #close(): void {
    for (let depth = this.#left.length; depth > 0; depth--) {
      const left = (this.#left[depth - 1] as number) - 1
      this.#left[depth - 1] = left
      if (left > 0) return
      this.#left.pop()
      this.#sizes.pop()
    }
    if (!this.#isPush) this.#ahead++
    this.#isPush = false
    this.#hasMoved = true
  }

  /** Of a bulk string's bytes the last two end it. */
  #endsWell(bytes: Buffer, at: number, part: number): boolean {
    const end = at + this.#before
    if ((part >= this.#before - 1 && end - 2 >= at && bytes[end - 2] !== CR) || (part === this.#before && bytes[end - 1] !== LF)) {
      this.#refuse('a value that is longer than it says')
      return false
    }
    return true
  }

  /** So many bytes more are in the value, which goes on when it is complete. */
  #fill(value: Buffer, length: number): void {
    this.#filled += length
    if (this.#filled < value.length) return
    this.#value = undefined
    this.#filled = 0
    if (value[value.length - 2] !== CR || value[value.length - 1] !== LF) return this.#refuse('a value that is longer than it says')
    this.#close()
    this.#pass(value)
  }

  #passCopy(bytes: Buffer, from: number, to: number): void {
    if (to > from) this.#pass(Buffer.from(bytes.subarray(from, to)))
  }

  #pass(bytes: Buffer): void {
    this.#options.pass(bytes)
    this.#ahead = 0
  }

  #refuse(what: string): void {
    if (this.#isStopped) return
    this.#stop()
    this.#options.refuse(new StrangeReply(what))
  }

  /** Nothing is passed on any more. */
  #stop(): void {
    this.#isStopped = true
    this.#value = undefined
    this.#line = undefined
  }
}

/** With its type and its end; nothing is as long as a line of an unknown type may be. */
function longestLine(type: number): number {
  if (type === TYPE.text || type === TYPE.error) return LONGEST_LINE_BYTES
  return type === TYPE.bulk || type === TYPE.array || type === TYPE.number ? LONGEST_NUMBER_BYTES : 0
}

/** A length: digits, or -1 for null. */
function sizeIn(bytes: Buffer, start: number, end: number): number {
  if (bytes[start] === TYPE.error) return end === start + 2 && bytes[start + 1] === ZERO + 1 ? NULL : Number.NaN
  return digitsIn(bytes, start, end)
}

function numberIn(bytes: Buffer, start: number, end: number): number {
  const sign = bytes[start]
  return sign === TYPE.error ? -digitsIn(bytes, start + 1, end) : digitsIn(bytes, sign === TYPE.text ? start + 1 : start, end)
}

function digitsIn(bytes: Buffer, start: number, end: number): number {
  if (end <= start) return Number.NaN
  let number = 0
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO
    if (digit < 0 || digit > 9) return Number.NaN
    number = number * 10 + digit
  }
  return number
}
