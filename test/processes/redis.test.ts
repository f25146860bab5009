import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import type { CacheHealth } from '@thermocline/core'
import { startProxy, type Proxy } from '../support/proxy.js'
import { describeRedis, startRedis, type RedisServer } from '../support/redis/index.js'
import { until } from '../support/servers/until.js'
import { freshPrefix } from '../../packages/redis/test/support/stage.js'

/*
 * Real processes over a real server: killed, stopped, cut off.
 */

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'support', 'peer.mjs')

interface Computed {
  readonly values: readonly unknown[]
  readonly ms: number
}

class Peer {
  readonly child: ChildProcess
  readonly #answers = new Map<number, (message: { answer?: unknown; error?: string }) => void>()
  #asked = 0

  constructor(redis: object, coordination: unknown) {
    this.child = fork(SCRIPT, [JSON.stringify({ redis, coordination })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
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

describeRedis('processes that share a server', () => {
  let server: RedisServer
  let proxy: Proxy
  let keyPrefix: string
  let peers: Peer[]
  beforeAll(async () => {
    server = await startRedis()
    proxy = await startProxy(server.port)
  })
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })
  beforeEach(() => {
    keyPrefix = freshPrefix()
    peers = []
  })
  afterEach(async () => {
    await proxy.pass()
    for (const { child } of peers) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    for (const { child } of peers) if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })

  const open = async (count: number, { url = server.url, coordination = 'auto' }: { url?: string; coordination?: unknown } = {}): Promise<Peer[]> => {
    const opened = Array.from({ length: count }, () => new Peer({ url, keyPrefix }, coordination))
    peers.push(...opened)
    await until('they hear each other', async () => (await Promise.all(opened.map((peer) => peer.status()))).every((status) => status === 'connected'), { withinMs: 20_000 })
    return opened
  }

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

  test('a process that is cut off stops believing in time, and is told what it missed when it is back', async () => {
    const coordination = { maxStaleness: '1500ms' }
    const [cut] = (await open(1, { url: `redis://127.0.0.1:${proxy.port}`, coordination })) as [Peer]
    const [other] = (await open(1, { coordination })) as [Peer]
    for (const key of ['kept', 'changed']) await other.ask('set', { key, value: 'old' })
    await until('it has both', async () => (await cut.ask('get', { key: 'kept' })) === 'old' && (await cut.ask('get', { key: 'changed' })) === 'old')
    await proxy.blackHole()
    const cutAt = performance.now()
    await other.ask('set', { key: 'changed', value: 'new' })
    let servedUntil = cutAt
    await until('it is believed no more', async () => {
      if ((await cut.ask('peek', { key: 'changed' })) === undefined) return true
      servedUntil = performance.now()
      return false
    }, { everyMs: 10 })
    expect(servedUntil - cutAt).toBeLessThan(1800)
    for (let n = 0; n < 200; n++) await other.ask('set', { key: `other ${n}`, value: n })
    await proxy.pass()
    await until('it hears others again', async () => (await cut.status()) === 'connected', { withinMs: 10_000 })
    expect([await cut.ask('peek', { key: 'kept' }), await cut.ask('get', { key: 'changed' })]).toEqual(['old', 'new'])
  }, 60_000)

  test('a server that has lost everything: nothing of before is believed, and all goes on', async () => {
    const [one, other] = (await open(2, { coordination: { maxStaleness: '1500ms' } })) as [Peer, Peer]
    await one.ask('set', { key: 'k', value: 'old' })
    expect(await other.ask('get', { key: 'k' })).toBe('old')
    await server.command('FLUSHALL')
    await until('nothing of before is believed', async () => (await one.ask('peek', { key: 'k' })) === undefined && (await other.ask('peek', { key: 'k' })) === undefined, { withinMs: 8000 })
    await one.ask('set', { key: 'k', value: 'new' })
    await until('it goes on', async () => (await other.ask('get', { key: 'k' })) === 'new' && (await other.status()) === 'connected', { withinMs: 8000 })
    await other.ask('delete', { key: 'k' })
    await until('and is heard', async () => (await one.ask('peek', { key: 'k' })) === undefined)
  }, 60_000)
})
