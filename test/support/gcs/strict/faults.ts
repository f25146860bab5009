import type { GcsRequest, Operation } from './request.js'

export interface FaultOptions {
  /** Which requests it happens to; all by default. */
  readonly of?: Operation | readonly Operation[] | ((request: GcsRequest) => boolean)
  /** How many times; once by default. */
  readonly times?: number
}

export type Fault =
  /** Answers with an error; `isDone`: after it has done what was asked, as when an answer is lost on its way. */
  | { readonly kind: 'error'; readonly status: number; readonly reason: string; readonly isDone: boolean; readonly headers: Readonly<Record<string, string>> }
  /** Ends the connection without an answer; `isDone` as above. */
  | { readonly kind: 'reset'; readonly isDone: boolean }
  /** Announces the whole body, and ends the connection in good order after so many bytes of it. */
  | { readonly kind: 'truncate'; readonly afterBytes: number }
  /** Announces the whole body, and falls silent after so many bytes of it. With -1 there is not even a status. */
  | { readonly kind: 'hang'; readonly afterBytes: number }
  /** Flips a bit in the middle of the body. */
  | { readonly kind: 'corrupt' }
  /** Ends the connection after so many bytes of the request's body. */
  | { readonly kind: 'cut upload'; readonly afterBytes: number }

const REASONS: Readonly<Record<number, string>> = { 408: 'requestTimeout', 429: 'rateLimitExceeded', 500: 'internalError', 502: 'backendError', 503: 'backendError', 504: 'gatewayTimeout' }

interface Planned {
  readonly fault: Fault
  readonly matches: (request: GcsRequest) => boolean
  left: number
}

/** What is to go wrong. The first planned fault that fits a request happens to it. */
export class Faults {
  readonly #planned: Planned[] = []
  readonly #hanging = new Set<() => void>()

  /** Such as 503 or 429, or what else the service answers when it is not well. */
  error(status: number, { isDone = false, headers = {}, ...options }: FaultOptions & { readonly isDone?: boolean; readonly headers?: Readonly<Record<string, string>> } = {}): void {
    this.#plan({ kind: 'error', status, reason: REASONS[status] ?? 'backendError', isDone, headers }, options)
  }

  reset({ isDone = false, ...options }: FaultOptions & { readonly isDone?: boolean } = {}): void {
    this.#plan({ kind: 'reset', isDone }, options)
  }

  /** The client does not notice: release 7.22 waits for the rest for ever. A reset in mid-body it notices; see `startProxy`. */
  truncate(afterBytes: number, options: FaultOptions = {}): void {
    this.#plan({ kind: 'truncate', afterBytes }, options)
  }

  /** Until the client goes away, or `clear`, which resets the connection. */
  hang(afterBytes = -1, options: FaultOptions = {}): void {
    this.#plan({ kind: 'hang', afterBytes }, options)
  }

  corrupt(options: FaultOptions = {}): void {
    this.#plan({ kind: 'corrupt' }, options)
  }

  cutUpload(afterBytes: number, options: FaultOptions = {}): void {
    this.#plan({ kind: 'cut upload', afterBytes }, options)
  }

  /** Forgets what has not happened yet, and ends what hangs. */
  clear(): void {
    this.#planned.length = 0
    for (const release of this.#hanging) release()
    this.#hanging.clear()
  }

  /** @internal */
  take(request: GcsRequest): Fault | undefined {
    const index = this.#planned.findIndex(({ matches }) => matches(request))
    const planned = this.#planned[index]
    if (planned === undefined) return undefined
    planned.left -= 1
    if (planned.left === 0) this.#planned.splice(index, 1)
    return planned.fault
  }

  /** @internal */
  hold(release: () => void): void {
    this.#hanging.add(release)
  }

  #plan(fault: Fault, { of, times = 1 }: FaultOptions): void {
    const matches = typeof of === 'function' ? of : (request: GcsRequest): boolean => of === undefined || [of].flat().includes(request.operation)
    this.#planned.push({ fault, matches, left: times })
  }
}
