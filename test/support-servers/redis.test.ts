import { existsSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { Connection, describeRedis, describeTls, inStep, makeCertificates, redisVersion, startRedis, startTlsRedis, type Reply } from '../support/redis/index.js'
import { serverDirectory } from '../support/servers/server-process.js'
import { isThere } from './processes.js'

describeRedis('a Redis server of a test', () => {
  test('answers on 127.0.0.1, keeps nothing on disk, and stops without a trace', async () => {
    const server = await startRedis({ maxmemory: '64mb', maxmemoryPolicy: 'allkeys-lru', config: ['databases 3'] })
    expect(server.url).toBe(`redis://127.0.0.1:${server.port}`)
    await server.command('SET', 'key', 'value')
    expect(await server.command('MGET', 'key', 'absent')).toEqual(['value', null])
    expect(await server.rawCommand('GET', 'key')).toEqual(Buffer.from('value'))
    expect(await server.command('CONFIG', 'GET', 'maxmemory*')).toEqual(expect.arrayContaining(['67108864', 'allkeys-lru']))
    expect(await server.command('CONFIG', 'GET', 'save')).toEqual(['save', ''])
    await expect(server.command('SELECT', 3)).rejects.toMatchObject({ code: 'ERR' })
    const { pid, dir } = server
    await server.stop()
    expect([isThere(pid), existsSync(dir)]).toEqual([false, false])
  })

  test('asks for its password', async () => {
    const server = await startRedis({ password: 'p ä"ss' })
    const stranger = await Connection.open({ port: server.port })
    await expect(stranger.command('PING')).rejects.toMatchObject({ code: 'NOAUTH' })
    stranger.close()
    expect(await server.command('PING')).toBe('PONG')
  })

  test('is silent while paused, can be killed then, and comes back on its port', async () => {
    const server = await startRedis()
    await server.command('SET', 'key', 'value')
    server.pause()
    const answer = server.command('PING')
    expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100, 'silence'))])).toBe('silence')
    server.resume()
    expect(await answer).toBe('PONG')
    server.pause()
    await server.kill()
    await expect(server.command('PING')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await server.restart()
    expect(await server.command('DBSIZE')).toBe(0)
  })

  test('follows a master', async () => {
    const master = await startRedis()
    const replica = await startRedis({ replicaOf: master.port })
    await master.command('SET', 'key', 'value')
    await inStep(replica, master)
    expect(await replica.command('GET', 'key')).toBe('value')
    expect(((await replica.command('ROLE')) as Reply[])[0]).toBe('slave')
  })

  test('says why when it does not start', async () => {
    await expect(startRedis({ config: ['no-such-line yes'] })).rejects.toThrow(/ended at once:[^]*no-such-line/)
    expect(redisVersion()[0]).toBeGreaterThanOrEqual(6)
  })
})

describeTls('a Redis server with TLS', () => {
  test('lets in clients with a certificate of its authority only', async () => {
    const server = await startTlsRedis()
    const { port, ca, cert, key, app, admin } = server
    const stranger = await makeCertificates(serverDirectory('stranger'))
    await expect(Connection.open({ ...app, port, tls: { ca, cert: stranger.client.cert, key: stranger.client.key } })).rejects.toThrow()
    await expect(Connection.open({ ...app, port, tls: { ca: stranger.ca, cert, key } })).rejects.toThrow(/certificate/)
    const client = await Connection.open({ ...admin, port, tls: { ca, cert, key } })
    expect(String(await client.command('ACL', 'WHOAMI'))).toBe('admin')
    client.close()
  })

  test('has a user for its own keys, and no default user', async () => {
    const { port, ca, cert, key, app } = await startTlsRedis()
    const client = await Connection.open({ ...app, port, tls: { ca, cert, key } })
    expect(String(await client.command('SET', 'tc:key', 'value'))).toBe('OK')
    await expect(client.command('SET', 'other', 'value')).rejects.toMatchObject({ code: 'NOPERM' })
    await expect(client.command('FLUSHALL')).rejects.toMatchObject({ code: 'NOPERM' })
    client.close()
    const nobody = await Connection.open({ port, tls: { ca, cert, key } })
    await expect(nobody.command('PING')).rejects.toMatchObject({ code: 'NOAUTH' })
    nobody.close()
  })
})
