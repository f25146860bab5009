import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { parseAllDocuments, parse } from 'yaml'
import { until } from '../support/servers/until.js'
import { describeRedis, startCluster, startRedis, startSentinel, type RedisServer } from '../support/redis/index.js'

const PAGE = readFileSync(fileURLToPath(new URL('../../docs/redis.md', import.meta.url)), 'utf8')
const YAML = [...PAGE.matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text ?? '')
/** What stands after `ACL` on the page. */
const ACL = /^ACL (SETUSER .*)$/m.exec(PAGE)![1]!.split(' ')
const FOR_COORDINATION = /So that \[processes agree\][^`]*`([^`]*)`/.exec(PAGE)![1]!.split(' ')
const IN_CLUSTERS = /In a cluster add `([^`]*)`/.exec(PAGE)![1]!.split(' ')
const USER = { username: 'cache', password: 'CHANGE-ME' }

/** Every verb, on an empty server. */
async function useEverything(options: RedisBackendOptions): Promise<void> {
  const cache = new TieredCacheManager({ tiers: { only: { backend: new RedisBackend({ ...options, ...USER }) } }, logger: false })
  const errors: string[] = []
  try {
    const acme = cache.tenant('acme')
    await until('the tier is connected', async () => {
      await acme.set('a', 1)
      return acme.has('a')
    })
    cache.on('error', ({ error }) => errors.push(error.message))
    await acme.setMany([['a', 1], ['b/1', Buffer.alloc(300_000)], ['b/2', { x: [] }]])
    expect((await acme.getMany(['a', 'b/1', 'b/2', 'c'])).size).toBe(3)
    expect(await acme.has('a')).toBe(true)
    const listed: string[] = []
    for await (const { key } of acme.list('', { detail: true })) listed.push(key)
    expect(listed.sort()).toEqual(['a', 'b/1', 'b/2'])
    expect(await acme.delete('a')).toBe(true)
    expect(await acme.clear('b/')).toBe(2)
    expect(await acme.getOrCompute('c', () => 1)).toBe(1)
    expect((await cache.stats()).tiers['only']).toMatchObject({ server: { maxMemoryBytes: 0 } })
    expect(errors).toEqual([])
  } finally {
    await cache.close()
  }
}

jest.retryTimes(2, { logErrorsBeforeRetry: true }) // budgets on a machine that runs other suites at the same time

describeRedis("the user of docs/redis.md has the rights that are needed", () => {
  test('on one server, in any database', async () => {
    const server = await startRedis()
    try {
      await server.command('ACL', ...ACL, ...FOR_COORDINATION)
      await useEverything({ url: server.url })
      await useEverything({ url: server.url, db: 3 })
      expect(await server.command('ACL', 'LOG')).toEqual([])
    } finally {
      await server.stop()
    }
  })

  test('and not one more: each of them is used, or for what the page says', async () => {
    const server = await startRedis()
    try {
      await server.command('ACL', ...ACL, ...FOR_COORDINATION)
      await server.command('CONFIG', 'RESETSTAT')
      await useEverything({ url: server.url, db: 3, evictionPolicy: 'noeviction' })
      const used = new Set([...String(await server.command('INFO', 'commandstats')).matchAll(/cmdstat_([a-z]+)/g)].map(([, name]) => name))
      const rarely = ['get', 'mget', 'ping', 'client|info', 'client|kill', 'lset', 'lrem', 'lpush', 'lpop'] // one read goes alone, several go together; a connection is checked when in doubt; a lost one is killed; a line is kept, left and taken over
      const granted = [...ACL, ...FOR_COORDINATION].filter((word) => word.startsWith('+')).map((word) => word.slice(1))
      expect(granted.filter((command) => !used.has(command) && !rarely.includes(command))).toEqual([])
    } finally {
      await server.stop()
    }
  })

  test('in a cluster', async () => {
    const cluster = await startCluster()
    try {
      for (const node of cluster.nodes) await node.command('ACL', ...ACL, ...IN_CLUSTERS)
      await useEverything({ cluster: cluster.addresses })
      for (const node of cluster.nodes) expect(await node.command('ACL', 'LOG')).toEqual([])
    } finally {
      await Promise.all(cluster.nodes.map((node) => node.stop()))
    }
  }, 30_000)
})

describeRedis('the users of docs/redis.md have the rights that are needed with Sentinel', () => {
  const [, rights = ''] = /A user of the sentinels needs `([^`]*)`/.exec(PAGE) ?? []

  test('one of the servers, and one of the sentinels', async () => {
    const group = await startSentinel()
    try {
      for (const server of group.servers) await server.command('ACL', ...ACL, ...FOR_COORDINATION)
      for (const sentinel of group.sentinels) await sentinel.command('ACL', 'SETUSER', 'watcher', 'on', '>secret', 'resetchannels', '-@all', ...rights.split(' '))
      await useEverything({ sentinel: { name: group.name, sentinels: group.addresses, username: 'watcher', password: 'secret' } })
      for (const server of [...group.servers, ...group.sentinels]) expect(await server.command('ACL', 'LOG')).toEqual([])
    } finally {
      await group.stop()
    }
  }, 30_000)
})

describeRedis('the settings of docs/redis.md', () => {
  const expected = { maxmemory: String(2 * 1024 ** 3), 'maxmemory-policy': 'allkeys-lru', save: '', appendonly: 'no', 'lazyfree-lazy-eviction': 'yes', 'maxmemory-samples': '10' }
  let server: RedisServer | undefined
  afterAll(() => server?.stop())

  const expectTaken = async (config: readonly string[]): Promise<void> => {
    await server?.stop()
    server = await startRedis({ config })
    for (const [name, value] of Object.entries(expected)) expect(await server.command('CONFIG', 'GET', name)).toEqual([name, value])
  }

  test('for Docker Compose are taken by a server', async () => {
    const text = YAML.find((block) => block.startsWith('services:'))
    const { services } = parse(text ?? '') as { services: { redis: { command: string[]; mem_limit: string } } }
    const [, ...args] = services.redis.command
    const lines = args.flatMap((word, at) => (at % 2 === 0 ? [`${word.replace(/^--/, '')} ${args[at + 1] === '' ? '""' : args[at + 1]}`] : []))
    await expectTaken(lines)
    expect(Number.parseInt(services.redis.mem_limit, 10)).toBe(2048 * 1.25)
  })

  describe('for Kubernetes', () => {
    let documents: { kind: string; data?: Record<string, string>; spec?: { template?: { spec: { containers: { resources: { limits: { memory: string } } }[] } } } }[] = []
    beforeAll(() => {
      documents = parseAllDocuments(YAML.find((block) => block.includes('kind: Deployment')) ?? '').map((document) => document.toJS() as (typeof documents)[number])
    })

    test('are taken by a server', () => expectTaken(documents.find(({ kind }) => kind === 'ConfigMap')!.data!['redis.conf']!.trim().split('\n')))

    test('have a limit above maxmemory', () => {
      expect(documents.map(({ kind }) => kind)).toEqual(['ConfigMap', 'Deployment', 'Service', 'NetworkPolicy'])
      const [container] = documents[1]!.spec!.template!.spec.containers
      expect(container!.resources.limits.memory).toBe(`${2048 * 1.25}Mi`)
    })
  })
})
