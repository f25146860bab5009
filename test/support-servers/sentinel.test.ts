import { expect, test } from '@jest/globals'
import { describeRedis, inStep, startSentinel } from '../support/redis/index.js'
import { isThere } from './processes.js'

describeRedis('sentinels of a test', () => {
  test('make the replica master when the master is gone, and stop without a trace', async () => {
    const sentinel = await startSentinel({ password: 'secret' })
    const [master, replica] = [await sentinel.master(), await sentinel.replica()]
    expect([sentinel.servers, sentinel.addresses.length]).toEqual([[master, replica], 3])
    await master.command('SET', 'key', 'value')
    await inStep(replica, master)
    await master.kill()
    expect(await sentinel.failoverDone()).toBe(replica)
    expect([await sentinel.master(), await sentinel.replica()]).toEqual([replica, master])
    expect([await replica.command('GET', 'key'), await replica.command('SET', 'key', 'next')]).toEqual(['value', 'OK'])

    const pids = [...sentinel.servers, ...sentinel.sentinels].map(({ pid }) => pid)
    await sentinel.stop()
    expect(pids.filter(isThere)).toEqual([])
  }, 30_000)
})
