import { systemClock } from '@thermocline/core'
import type { Redis } from 'ioredis'
import { isAnswer } from './errors.js'

/*
 * Connections that ended while writes on them had no answer.
 *
 * Problem. A reset forgets what the own operating system has not delivered. What has left it may still be delivered: by a proxy that holds it, or with TLS,
 * where there is no reset. A `set` that was given up then lands after a later `delete` has resolved, and the old value is back.
 *
 * Approach. Each connection asks for its `CLIENT ID` behind its handshake, in the same packet. The next connection to the same server says `CLIENT KILL ID`
 * before anything else is sent over it: what the old one still carries finds nobody. Until then the writes that had no answer are not
 * settled, and the cache keeps their keys in doubt. Ids only grow while a server runs: where the new connection's is less than the old one's, it is
 * another process, which has never seen the old one. Where the user may not kill, or the server does not come back (a node of a cluster), a quarantine
 * has to do.
 *
 * Rejected: deleting the keys once more after a while (whoever has written them meanwhile would lose that), and a name instead of the id (`CLIENT KILL` does not know names).
 */

/** Longer than a proxy ought to keep what belongs to a connection that was reset. */
const QUARANTINE_MS = 10_000

/** One connection, from its handshake on. */
export interface Life {
  readonly address: string
  /** Resolves when it is known or refused; `undefined`: refused. */
  readonly id: Promise<number | undefined>
}

interface Left {
  readonly life: Life
  readonly gone: Promise<void>
  end(): void
}

export class LeftConnections {
  readonly #left = new Set<Left>()
  readonly #timers = new Set<() => void>()
  /** Whether the same server may never be connected to again. */
  readonly #mayNeverReturn: boolean

  constructor(mayNeverReturn: boolean) {
    this.#mayNeverReturn = mayNeverReturn
  }

  /** It has ended, or is ending, with writes that had no answer. */
  add(life: Life): void {
    for (const { life: known } of this.#left) if (known === life) return
    let resolve = (): void => undefined
    const left: Left = {
      life,
      gone: new Promise((resolveIt) => (resolve = resolveIt)),
      end: () => {
        this.#left.delete(left)
        resolve()
      },
    }
    this.#left.add(left)
    if (this.#mayNeverReturn) this.#quarantine(left)
    else void life.id.then((id) => id === undefined && this.#quarantine(left))
  }

  /** Whether something is to be done before anything is sent to that server. */
  anyAt(address: string): boolean {
    for (const { life } of this.#left) if (life.address === address) return true
    return false
  }

  /** Sees to it that the server knows none of them any more; over a new connection to it, which has to be `life`. Rejects when that is lost. */
  async bury(client: Redis, life: Life): Promise<void> {
    const id = await life.id
    const there = [...this.#left].filter((left) => left.life.address === life.address && left.life !== life)
    await Promise.all(
      there.map(async (left) => {
        const leftId = await left.life.id
        if (leftId === undefined || id === undefined) return this.#quarantine(left)
        if (id > leftId && !(await isKilled(client, leftId))) return this.#quarantine(left)
        left.end()
      }),
    )
  }

  /** All that were connected to another server than this: it is the master now, and what comes late to them is refused or forgotten. */
  forgetOthers(address: string): void {
    for (const left of [...this.#left]) if (left.life.address !== address) left.end()
  }

  /** Resolves when none of those that are there now can write any more. */
  async allGone(): Promise<void> {
    await Promise.all([...this.#left].map(({ gone }) => gone))
  }

  /** Nobody is asked any more. */
  close(): void {
    for (const cancel of this.#timers) cancel()
    for (const left of [...this.#left]) left.end()
  }

  #quarantine(left: Left): void {
    const cancel = systemClock.schedule(
      QUARANTINE_MS,
      () => {
        this.#timers.delete(cancel)
        left.end()
      },
      { background: true },
    )
    this.#timers.add(cancel)
  }
}

/** Where nobody is asked, as with a client of the user's. */
export function quarantine(): Promise<void> {
  return new Promise((resolve) => void systemClock.schedule(QUARANTINE_MS, resolve, { background: true }))
}

/** Asks for a connection's id, behind what the client sends first. */
export function idOf(client: Redis): Promise<number | undefined> {
  return client.client('ID').then(
    (id: unknown) => (typeof id === 'number' && Number.isSafeInteger(id) ? id : undefined),
    () => undefined,
  )
}

/** False where that is refused. Whether there was anybody does not matter. */
async function isKilled(client: Redis, id: number): Promise<boolean> {
  try {
    await client.client('KILL', 'ID', id)
    return true
  } catch (error) {
    if (isAnswer(error)) return false
    throw error
  }
}
