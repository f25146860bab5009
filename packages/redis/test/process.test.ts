import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { RedisBackendOptions } from '@thermocline/redis'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeRedis, startCluster, startRedis, startSentinel, type RedisCluster, type RedisSentinel, type RedisServer } from '../../../test/support/redis/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { freshPrefix } from './support/stage.js'

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'child.mjs')
const EXITS_WITHIN_MS = 1500

/** Runs a process with a work of child.mjs; an unhandled rejection or event makes it exit with 1. Returns when it was done and how. */
async function run(work: string, redis: RedisBackendOptions, close: boolean, onReady?: () => void): Promise<{ code: unknown; lateMs: number; closingMs: number; output: string }> {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify({ work, close, redis: { keyPrefix: freshPrefix(), ...redis } })], { stdio: ['pipe', 'pipe', 'pipe'] })
  afterwards(() => child.kill('SIGKILL'))
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (!chunk.toString().includes('ready')) return
    onReady?.()
    child.stdin.write('go\n')
  })
  const [code] = (await once(child, 'close')) as [unknown]
  const [, doneAt, closingMs] = /done (\d+) closing took (\d+)/.exec(output) ?? []
  return { code, lateMs: Date.now() - Number(doneAt), closingMs: Number(closingMs), output }
}

describeRedis('the process', () => {
  let server: RedisServer
  let cluster: RedisCluster
  let group: RedisSentinel
  beforeAll(async () => void ([server, cluster, group] = await Promise.all([startRedis(), startCluster(), startSentinel()])), 40_000)
  afterAll(() => Promise.all([server.stop(), cluster.stop(), group.stop()]))

  const targets: Readonly<Record<string, () => { redis: RedisBackendOptions; pause: () => void; resume: () => void }>> = {
    'one server': () => ({ redis: { url: server.url }, pause: () => server.pause(), resume: () => server.resume() }),
    cluster: () => ({
      redis: { cluster: cluster.addresses },
      pause: () => cluster.nodes.forEach((node) => node.pause()),
      resume: () => cluster.nodes.forEach((node) => node.resume()),
    }),
    sentinel: () => ({
      redis: { sentinel: { name: group.name, sentinels: group.addresses } },
      pause: () => [...group.servers, ...group.sentinels].forEach((one) => one.pause()),
      resume: () => [...group.servers, ...group.sentinels].forEach((one) => one.resume()),
    }),
  }

  for (const [name, target] of Object.entries(targets)) {
    test.each([true, false])(`exits by itself, ${name}, closed: %s`, async (close) => {
      const { code, lateMs, output } = await run('visit', target().redis, close)
      expect([code, output]).toEqual([0, expect.stringContaining('done')])
      expect(lateMs).toBeLessThan(EXITS_WITHIN_MS)
    }, 20_000)

    test.each([true, false])(`exits when the server has stopped, ${name}, closed: %s`, async (close) => {
      const { redis, pause, resume } = target()
      afterwards(resume)
      const { code, lateMs, closingMs, output } = await run('standstill', redis, close, pause)
      expect([code, output]).toEqual([0, expect.stringContaining('done')])
      expect(closingMs).toBeLessThan(500)
      expect(lateMs).toBeLessThan(EXITS_WITHIN_MS + (close ? 0 : 2500)) // a connection may just be coming about
    }, 20_000)
  }

  test.each([true, false])('exits when nobody answers, closed: %s', async (close) => {
    const nobody = { host: '127.0.0.1', port: await freePort() }
    for (const redis of [nobody, { cluster: [nobody] }, { sentinel: { name: 'main', sentinels: [nobody] } }]) {
      const { code, lateMs, output } = await run('alone', redis, close)
      expect([code, output]).toEqual([0, expect.stringContaining('done')])
      expect(lateMs).toBeLessThan(EXITS_WITHIN_MS)
    }
  }, 20_000)
})
