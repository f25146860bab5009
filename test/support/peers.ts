import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import type { CacheHealth } from '@thermocline/core'
import { until } from './servers/until.js'

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'peer.mjs')

interface Computed {
  readonly values: readonly unknown[]
  readonly ms: number
}

/** A process that does what it is told. */
export class Peer {
  readonly child: ChildProcess
  readonly #answers = new Map<number, (message: { answer?: unknown; error?: string }) => void>()
  #asked = 0

  /** @param over what they share: `redis` or `fs`, with the backend's options */
  constructor(over: { readonly redis?: object; readonly fs?: object }, coordination: unknown = 'auto') {
    this.child = fork(SCRIPT, [JSON.stringify({ ...over, coordination })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.child.on('message', (message: { id: number; answer?: unknown; error?: string }) => {
      this.#answers.get(message.id)?.(message)
      this.#answers.delete(message.id)
    })
  }

  ask<T>(verb: string, given: object = {}): Promise<T> {
    const id = ++this.#asked
    return new Promise<T>((resolve, reject) => {
      this.#answers.set(id, ({ answer, error }) => (error === undefined ? resolve(answer as T) : reject(new Error(error))))
      this.child.send({ id, verb, ...given })
    })
  }

  compute(given: object): Promise<Computed> {
    return this.ask('compute', given)
  }

  async status(): Promise<string> {
    return (await this.ask<CacheHealth>('health')).coordination.status
  }
}

/** Processes over one store, until the test ends. */
export class Peers {
  readonly #all: Peer[] = []

  async open(count: number, over: ConstructorParameters<typeof Peer>[0], coordination?: unknown): Promise<Peer[]> {
    const opened = Array.from({ length: count }, () => new Peer(over, coordination))
    this.#all.push(...opened)
    await until('they hear each other', async () => (await Promise.all(opened.map((peer) => peer.status()))).every((status) => status === 'connected'), { withinMs: 20_000 })
    return opened
  }

  async end(): Promise<void> {
    const running = this.#all.map(({ child }) => child).filter((child) => child.exitCode === null && child.signalCode === null)
    const exits = running.map((child) => once(child, 'exit'))
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(exits)
  }
}

/** What processes that share a store keep to, also when they are killed or stopped. */
export function describePeers(open: (count: number) => Promise<Peer[]>): void {
  test('four processes with 250 callers each make one compute, and leave when they are closed', async () => {
    const opened = await open(4)
    const computed = await Promise.all(opened.map((peer) => peer.compute({ key: 'k', callers: 250 })))
    expect(new Set(computed.flatMap(({ values }) => values)).size).toBe(1)
    expect((await Promise.all(opened.map((peer) => peer.ask<number>('computes')))).reduce((sum, one) => sum + one)).toBe(1)
    const exits = opened.map(({ child }) => once(child, 'exit'))
    for (const peer of opened) void peer.ask('close')
    expect(await Promise.all(exits)).toEqual(opened.map(() => [0, null]))
  }, 60_000)

  test('a holder that is killed delays the others by its lease', async () => {
    const [dead, one, other] = (await open(3)) as [Peer, Peer, Peer]
    void dead.compute({ key: 'k', ms: 60_000 }).catch(() => undefined)
    await until('it computes', async () => (await dead.ask<number>('computes')) === 1)
    const waiting = [one.compute({ key: 'k' }), other.compute({ key: 'k' })]
    await new Promise((resolve) => setTimeout(resolve, 200))
    dead.child.kill('SIGKILL')
    const computed = await Promise.all(waiting)
    expect(new Set(computed.flatMap(({ values }) => values)).size).toBe(1)
    expect((await one.ask<number>('computes')) + (await other.ask<number>('computes'))).toBe(1)
    expect(Math.max(...computed.map(({ ms }) => ms))).toBeLessThan(14_000)
  }, 60_000)

  test('a holder that is stopped past its lease stores nothing over what others have made', async () => {
    const [stopped, other] = (await open(2)) as [Peer, Peer]
    const late = stopped.compute({ key: 'k', ms: 1500, value: 'late' })
    await until('it computes', async () => (await stopped.ask<number>('computes')) === 1)
    stopped.child.kill('SIGSTOP')
    expect((await other.compute({ key: 'k', value: 'meanwhile' })).values).toEqual(['meanwhile'])
    await other.ask('set', { key: 'k', value: 'newer' })
    stopped.child.kill('SIGCONT')
    expect((await late).values).toEqual(['late'])
    await until('it has the newer one', async () => (await stopped.ask('get', { key: 'k' })) === 'newer')
    expect(await other.ask('get', { key: 'k' })).toBe('newer')
  }, 60_000)

  test('a compute that keeps its processor busy past its lease is stored all the same', async () => {
    const [busy, other] = (await open(2)) as [Peer, Peer]
    expect((await busy.compute({ key: 'k', ms: 12_000, busy: true, value: 'busy' })).values).toEqual(['busy'])
    expect(await other.ask('get', { key: 'k' })).toBe('busy')
  }, 60_000)

  test('a process that was stopped does not serve what was deleted meanwhile', async () => {
    const [stopped, other] = (await open(2)) as [Peer, Peer]
    await other.ask('set', { key: 'k', value: 'old' })
    await until('it has it', async () => (await stopped.ask('get', { key: 'k' })) === 'old')
    stopped.child.kill('SIGSTOP')
    await other.ask('delete', { key: 'k' })
    await new Promise((resolve) => setTimeout(resolve, 500))
    stopped.child.kill('SIGCONT')
    await until('it has heard', async () => (await stopped.ask('peek', { key: 'k' })) === undefined, { withinMs: 3000, everyMs: 5 })
    expect(await stopped.ask('get', { key: 'k' })).toBeUndefined()
  }, 60_000)
}
