import { expect, test } from '@jest/globals'
import { describeRedis, inStep, slotOf, startCluster } from '../support/redis/index.js'
import { until } from '../support/servers/until.js'
import { isThere } from './processes.js'

describeRedis('a Redis cluster of a test', () => {
  test('knows the slots of keys', () => {
    expect([slotOf('123456789'), slotOf('{user}.a'), slotOf('foo{}bar'), slotOf('foo{{bar}}zap')]).toEqual([0x31c3, slotOf('user'), slotOf(Buffer.from('foo{}bar')), slotOf('{bar')])
  })

  test('serves, redirects, moves slots with their keys, and stops without a trace', async () => {
    const cluster = await startCluster()
    expect(cluster.nodes).toHaveLength(3)
    const from = await cluster.nodeOfKey('{a}1')
    const to = cluster.nodes.find((node) => node !== from)!
    expect(await from.command('CLUSTER', 'KEYSLOT', '{a}1')).toBe(slotOf('{a}1'))
    for (let i = 1; i <= 250; i++) await from.command('SET', `{a}${i}`, `value ${i}`)
    await expect(to.command('GET', '{a}1')).rejects.toThrow(`MOVED ${slotOf('a')} 127.0.0.1:${from.port}`)

    const move = await cluster.startMove(slotOf('a'), to)
    expect(await move.migrate(120)).toBe(120)
    expect(await from.command('DBSIZE')).toBe(130)
    await expect(from.command('GET', '{a}absent')).rejects.toThrow(`ASK ${slotOf('a')} 127.0.0.1:${to.port}`)
    await move.finish()
    expect([await cluster.nodeOfKey('{a}1'), await to.command('DBSIZE'), await from.command('DBSIZE')]).toEqual([to, 250, 0])
    expect(await to.command('GET', '{a}250')).toBe('value 250')

    const pids = cluster.nodes.map(({ pid }) => pid)
    await cluster.stop()
    expect(pids.filter(isThere)).toEqual([])
  }, 15_000)

  test('replaces a master by its replica', async () => {
    const cluster = await startCluster({ replicas: 1 })
    const master = await cluster.nodeOfKey('key')
    const [replica] = await cluster.replicasOf(master)
    await master.command('SET', 'key', 'value')
    await inStep(replica!, master)
    await master.kill()
    await until('the replica has taken over', async () => (await replica!.command('CLUSTER', 'COUNTKEYSINSLOT', slotOf('key'))) === 1 && (await cluster.nodeOfKey('key')) === replica)
    await cluster.healthy()
    expect(await replica!.command('GET', 'key')).toBe('value')
    await cluster.stop()
  }, 20_000)
})
