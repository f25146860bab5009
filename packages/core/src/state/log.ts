import { isPromise, kindOf } from '@thermocline/backend'

/** The facts of a log line: which tier, its backend, the error's code, ... Never a value or a secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Where the few lines go that a person should see: a text that says it all, and its facts apart. What a logger throws or rejects with is left out. */
export interface Logger {
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
}

/** Everything goes to stderr: stdout is the program's own. */
const TO_STDERR: Logger = { info: (message) => console.warn(message), warn: (message) => console.warn(message) }

/** The manager's logger. What it throws, or rejects with, is nobody's problem: there is nobody else to tell. */
export class Log {
  readonly #logger: Logger | undefined

  /** @throws TypeError for what is no logger */
  constructor(logger: Logger | false | undefined) {
    if (logger !== undefined && logger !== false && (typeof logger !== 'object' || logger === null || typeof logger.info !== 'function' || typeof logger.warn !== 'function')) {
      throw new TypeError(`logger must be false or an object with info() and warn(), not ${kindOf(logger)}`)
    }
    this.#logger = logger === false ? undefined : (logger ?? TO_STDERR)
  }

  info(message: string, fields: LogFields): void {
    this.#write('info', message, fields)
  }

  warn(message: string, fields: LogFields): void {
    this.#write('warn', message, fields)
  }

  #write(level: 'info' | 'warn', message: string, fields: LogFields): void {
    try {
      const known = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
      const returned: unknown = this.#logger?.[level](`thermocline: ${message}`, known)
      if (isPromise(returned)) returned.then(undefined, () => undefined)
    } catch {
      // see above
    }
  }
}
