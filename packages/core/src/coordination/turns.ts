import type { Clock, Coordination, OperationOptions, TenantScope, ValidKey } from '@thermocline/backend'
import { onAbort } from '../flights/abort.js'
import type { AgreedCall, ComputeStep } from '../flights/compute-point.js'
import type { LinePlace } from '../flights/line-place.js'
import { queueId } from '../tiers/write-queue.js'
import type { Place } from './unleft.js'

/*
 * Whose turn it is to make the value of a key. Who is not first in the line waits, until it is told that the holder has ended, sees a value, or sees no sign
 * of the holder for the time of a lease; that is counted by its own clock, from when it saw the last one. A holder whose event loop is busy loses
 * nothing by that, unless somebody has taken its place.
 */

/** A holder that gives no sign of life for so long has lost its turn. */
const LEASE_MS = 10_000
const RENEW_MS = LEASE_MS / 4
/** How often who waits looks for itself, where it is told of nothing. */
const LOOK_MS = 500

export interface TurnsOptions {
  readonly coordination: Coordination
  readonly clock: Clock
  /** Sees to it that a place is left. */
  readonly leave: (place: Place) => void
  /** `undefined`: the store could not be asked. */
  readonly ask: <T>(operation: string, key: ValidKey, ask: (options: OperationOptions) => Promise<T>) => Promise<T | undefined>
}

export class Turns {
  readonly #options: TurnsOptions
  /** Those who wait here, by tenant and key. */
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** Another process has stored the key's value, or is not going to. */
  woken(scope: TenantScope, key: ValidKey): void {
    for (const wake of this.#waiting.get(queueId(scope, key)) ?? []) wake()
  }

  /** Resolves when it is the call's turn to make the value; with what another process has made, where that can be had. */
  async wait<T>(step: ComputeStep<T>): Promise<T | undefined> {
    const { call } = step
    const line = (call.line as LinePlace).line
    if (call.isForced) return undefined
    if (line.isStored) {
      const found = await step.look()
      if (found !== undefined) return found
    }
    if (line.isFirst || call.lockWaitMs === 0) return undefined
    return this.#waitBehind(step, line.first)
  }

  /** Shows that the holder lives, until the returned function is called, or nothing it makes will be stored. */
  holding(call: AgreedCall, { fence }: ComputeStep<unknown>['flight']): () => void {
    const { scope, key, line } = call
    const { clock, ask, coordination } = this.#options
    let times = 0
    let cancel = (): void => undefined
    const renew = (): void => {
      cancel = clock.schedule(RENEW_MS, () => {
        if (line?.isHeld !== true) return
        if (fence.broken) {
          call.line = undefined
          return line.release()
        }
        void ask('renew', key, (options) => coordination.renew(scope, key, line.token, ++times, options))
        renew()
      }, { background: true })
    }
    renew()
    return () => cancel()
  }

  async #waitBehind<T>(step: ComputeStep<T>, seen: string | undefined): Promise<T | undefined> {
    const { clock, ask, coordination } = this.#options
    const { call, flight } = step
    const { scope, key } = call
    const token = (call.line as LinePlace).token
    const until = clock.monotonic() + call.lockWaitMs
    let first = seen
    let seenAt = clock.monotonic()
    const room = this.#enterRoom(scope, key)
    let waitMs = 0 // the holder may have ended before anybody could be woken here
    try {
      for (;;) {
        const isWoken = await room.next(Math.min(waitMs, until - clock.monotonic()), flight, clock)
        waitMs = LOOK_MS
        flight.throwIfAborted()
        if (isWoken) {
          const found = await step.look()
          if (found !== undefined) return found
          break // the holder has not stored it: each process makes it now
        }
        if (clock.monotonic() >= until) break
        const line = await ask('look', key, (options) => coordination.look(scope, key, token, options))
        flight.throwIfAborted()
        if (line === undefined) break // nobody can tell any more
        if (line.isStored) {
          const found = await step.look()
          if (found !== undefined) return found
        }
        if (line.first === undefined || line.isFirst) break
        if (line.first !== first) {
          first = line.first
          seenAt = clock.monotonic()
          continue
        }
        if (clock.monotonic() - seenAt < LEASE_MS) continue
        const dead = first
        const isTaken = await ask('takeOver', key, (options) => coordination.takeOver(scope, key, token, dead, options))
        flight.throwIfAborted()
        if (isTaken !== false) break
      }
    } finally {
      room.leave()
    }
    await this.#standAgain(step)
    return undefined
  }

  /** What is made from now on is newer than what has emptied the line meanwhile. */
  async #standAgain({ call, flight }: ComputeStep<unknown>): Promise<void> {
    flight.throwIfAborted() // its place was left
    const { ask, coordination, leave } = this.#options
    const { scope, key } = call
    const place = call.line as LinePlace
    const line = await ask('enter', key, (options) => coordination.enter(scope, key, place.token, options))
    if (!place.isHeld) leave({ scope, key, token: place.token, wake: place.wake }) // given up meanwhile
    else if (line === undefined) {
      place.release()
      call.line = undefined
    }
  }

  #enterRoom(scope: TenantScope, key: ValidKey): Room {
    const id = queueId(scope, key)
    const rooms = this.#waiting.get(id) ?? new Set()
    this.#waiting.set(id, rooms)
    const room = new Room(() => {
      rooms.delete(room.wake)
      if (rooms.size === 0) this.#waiting.delete(id)
    })
    rooms.add(room.wake)
    return room
  }
}

/** Where one flight waits. */
class Room {
  readonly leave: () => void
  #isWoken = false
  #resume: (() => void) | undefined

  constructor(leave: () => void) {
    this.leave = leave
  }

  readonly wake = (): void => {
    this.#isWoken = true
    this.#resume?.()
  }

  /** Whether it was woken, within the time. Callers who wait keep the process up. */
  async next(ms: number, flight: ComputeStep<unknown>['flight'], clock: Clock): Promise<boolean> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = clock.schedule(Math.max(0, ms), () => end(), { background: !flight.isWaitedFor })
        const stop = onAbort(flight.signal, () => end())
        const end = (): void => {
          cancel()
          stop()
          this.#resume = undefined
          resolve()
        }
        this.#resume = end
        if (flight.signal.aborted) end()
      })
    }
    const isWoken = this.#isWoken
    this.#isWoken = false
    return isWoken
  }
}
