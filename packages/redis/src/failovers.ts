import { systemClock } from '@thermocline/backend'
import type { Redis } from 'ioredis'
import { followReplies } from './connector.js'

const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 30_000
/** What a sentinel publishes when another server is the master: `<group> <old host> <old port> <new host> <new port>`. */
const SWITCHED = '+switch-master'

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * Listens to the sentinels of a group. After a failover that somebody asked for they let the old master go on for some seconds, in which it
 * would take writes that are lost: its own answers do not show that it has been replaced.
 */
export class Failovers {
  readonly #sentinels: readonly Redis[]
  readonly #cancels = new Map<Redis, () => void>()
  #isOpen = false

  /**
   * @param group its name
   * @param sentinels clients that have not begun to connect and do not reconnect by themselves
   * @param onMaster each time one of them tells of a new master
   */
  constructor(group: string, sentinels: readonly Redis[], onMaster: (master: Address) => void) {
    this.#sentinels = sentinels
    for (const sentinel of sentinels) {
      let waitMs = FIRST_RETRY_MS
      sentinel.on('error', ignore) // without that one the others tell
      sentinel.on('connect', () => {
        sentinel.stream?.unref()
        sentinel.stream?.on('error', ignore) // the client listens for the first one only
        if (sentinel.stream !== undefined) followReplies(sentinel)
      })
      sentinel.on('ready', () => {
        waitMs = FIRST_RETRY_MS
        sentinel.subscribe(SWITCHED).catch(ignore) // its user may not: then the servers' own answers have to do
      })
      sentinel.on('message', (channel: string, message: string) => {
        const [name, , , host, port] = message.split(' ')
        if (channel === SWITCHED && name === group && host !== undefined && Number(port) > 0) onMaster({ host, port: Number(port) })
      })
      sentinel.on('end', () => {
        if (!this.#isOpen) return
        this.#cancels.set(sentinel, systemClock.schedule(waitMs, () => connect(sentinel), { background: true }))
        waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)
      })
    }
  }

  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    for (const sentinel of this.#sentinels) connect(sentinel)
  }

  close(): void {
    this.#isOpen = false
    for (const cancel of this.#cancels.values()) cancel()
    for (const sentinel of this.#sentinels) {
      const { stream } = sentinel
      sentinel.disconnect()
      stream?.destroy()
    }
  }
}

function connect(sentinel: Redis): void {
  sentinel.connect().catch(ignore)
}

function ignore(): void {
  // told by `end`
}
