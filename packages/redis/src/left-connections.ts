import { systemClock } from '@thermocline/backend'
import type { Redis } from 'ioredis'
import { isAnswer } from './errors.js'

/*
 * Connections that ended while writes on them had no answer.
 *
 * Problem. A reset forgets what the own operating system has not delivered. What has left it may still be delivered: by a proxy that holds it, or with TLS,
 * where there is no reset. A `set` that was given up then lands after a later `delete` has resolved, and the old value is back.
 *
 * Approach. Each connection asks who it is (`CLIENT INFO`: an id and the address that the server sees) behind its handshake, in the same packet. The next connection
 * to the same server says `CLIENT KILL` of both before anything else is sent over it: what the old one still carries finds nobody. Until then the writes that had
 * no answer are not settled, and the cache keeps their keys in doubt. Where the user may not do that, or the server does not come back (a node of
 * a cluster), a quarantine has to do.
 *
 * Rejected: the id alone (`CLIENT ID`): it begins anew when the server does, and somebody else's connection would be killed; deleting the keys once more after a
 * while (whoever has written them meanwhile would lose that); and a name (`CLIENT KILL` does not know names).
 */

/** Longer than a proxy ought to keep what belongs to a connection that was reset. */
export const QUARANTINE_MS = 10_000

/** A connection as its server knows it. */
export interface Identity {
  readonly id: string
  /** Of our side, with whatever stands between. */
  readonly address: string
}

/** One connection, from its handshake on. */
export interface Life {
  /** The server's. */
  readonly address: string
  /** Resolves when it is known or refused; `undefined`: refused. */
  readonly identity: Promise<Identity | undefined>
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

  get isEmpty(): boolean {
    return this.#left.size === 0
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
    else void life.identity.then((identity) => identity === undefined && this.#quarantine(left))
  }

  /** Whether something is to be done before anything is sent to that server. */
  anyAt(address: string): boolean {
    for (const { life } of this.#left) if (life.address === address) return true
    return false
  }

  /** Sees to it that the server knows none of them any more; over a new connection to it, which has to be `life`. Rejects when that is lost. */
  async bury(client: Redis, life: Life): Promise<void> {
    const there = [...this.#left].filter((left) => left.life.address === life.address && left.life !== life)
    await Promise.all(
      there.map(async (left) => {
        const identity = await left.life.identity
        if (identity === undefined) return // in quarantine already
        if (await isKilled(client, identity)) left.end()
        else this.#quarantine(left)
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

const IDENTITY = /(?:^|\s)id=(\d+) addr=(\S+)/

/** Asks who a connection is, behind what the client sends first. */
export function identityOf(client: Redis): Promise<Identity | undefined> {
  return client.client('INFO').then(
    (info: unknown) => {
      const [, id, address] = IDENTITY.exec(String(info)) ?? []
      return id === undefined || address === undefined ? undefined : { id, address }
    },
    () => undefined,
  )
}

/** False where that is refused. Whether there was anybody does not matter. */
async function isKilled(client: Redis, { id, address }: Identity): Promise<boolean> {
  try {
    await client.call('client', 'KILL', 'ID', id, 'ADDR', address)
    return true
  } catch (error) {
    if (isAnswer(error)) return false
    throw error
  }
}
