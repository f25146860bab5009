import { rmSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { temporaryDirectory } from '../support/afterwards.js'
import { describePeers, Peers, type Peer } from '../support/peers.js'
import { until } from '../support/servers/until.js'

/*
 * Real processes over one directory, without a server: killed, stopped, and their log removed.
 */

describe('processes that share a directory', () => {
  let basePath: string
  let peers: Peers
  beforeEach(() => {
    basePath = temporaryDirectory()
    peers = new Peers()
  })
  afterEach(() => peers.end())

  const open = (count: number): Promise<Peer[]> => peers.open(count, { fs: { basePath } })

  describePeers(open)

  test('what one deletes the others forget', async () => {
    const [one, other] = (await open(2)) as [Peer, Peer]
    for (let n = 0; n < 50; n++) {
      await one.ask('set', { key: 'k', value: n })
      await until('it has it', async () => (await other.ask('get', { key: 'k' })) === n && (await other.ask('peek', { key: 'k' })) === n)
      await one.ask('delete', { key: 'k' })
      await until('it was forgotten', async () => (await other.ask('peek', { key: 'k' })) === undefined, { withinMs: 1000, everyMs: 1 })
      expect(await other.ask('get', { key: 'k' })).toBeUndefined()
    }
  }, 60_000)

  test('those that are killed in the middle of their changes hold up nobody, and all agree', async () => {
    const [one, other] = (await open(2)) as [Peer, Peer]
    for (let round = 0; round < 4; round++) {
      const killed = await open(3)
      for (const [at, peer] of killed.entries()) void peer.ask('churn', { keys: 5, name: `${round}-${at}` }).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 300))
      for (const { child } of killed) child.kill('SIGKILL')
      for (let n = 0; n < 5; n++) await one.ask('set', { key: `churn ${n}`, value: `after ${round}` })
      await until('all have the newest', async () => {
        const got = await Promise.all([0, 1, 2, 3, 4].flatMap((n) => [one, other].map((peer) => peer.ask('get', { key: `churn ${n}` }))))
        return got.every((value) => value === `after ${round}`)
      }, { withinMs: 2000 })
    }
    // what those have begun and never ended keeps nobody from storing for longer than ten seconds
    await Promise.all([0, 1, 2, 3, 4].map((n) => one.ask('delete', { key: `churn ${n}` })))
    for (let n = 0; n < 5; n++) {
      await until('it is stored', async () => {
        expect((await one.compute({ key: `churn ${n}`, ms: 1, value: 'made' })).values).toEqual(['made'])
        return (await other.ask('get', { key: `churn ${n}` })) === 'made'
      }, { withinMs: 15_000, everyMs: 200 })
    }
  }, 60_000)

  test('a log that somebody removes is begun anew', async () => {
    const [one, other] = (await open(2)) as [Peer, Peer]
    await one.ask('set', { key: 'k', value: 'old' })
    expect(await other.ask('get', { key: 'k' })).toBe('old')
    rmSync(path.join(basePath, 'thermocline', 'agreed'), { recursive: true, maxRetries: 20 }) // they may write meanwhile
    await until('it hears again', async () => {
      await one.ask('set', { key: 'k', value: 'new' })
      return (await other.ask('get', { key: 'k' })) === 'new' && (await other.status()) === 'connected'
    }, { withinMs: 15_000 })
    await other.ask('delete', { key: 'k' })
    await until('and is heard', async () => (await one.ask('peek', { key: 'k' })) === undefined)
  }, 60_000)
})
