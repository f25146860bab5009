import path from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { ConfigError, configFromEnv, loadCache, parseConfig } from '@thermocline/config'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { rejection, writeFiles } from './support.js'

const TIERS = { tiers: { hot: { backend: 'memory' } } }

async function failure(call: () => unknown): Promise<Error> {
  try {
    await call()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('it was accepted')
}

describe('an option that a call does not take is refused, and the near one named', () => {
  test.each<readonly [string, () => unknown, string]>([
    ['loadCache', () => loadCache(TIERS, { envv: {} } as never), 'loadCache(source, options): unknown option `envv`; did you mean `env`?'],
    ['loadCache', () => loadCache(TIERS, { adapter: {} } as never), 'unknown option `adapter`; did you mean `adapters`?'],
    ['loadCache', () => loadCache(TIERS, { file: 'x' } as never), 'unknown option `file`; expected one of `env`, `codecs`, `adapters`, `directory`, `clock`, `logger`, `telemetry`'],
    ['parseConfig', () => parseConfig(TIERS, { fil: 'x' } as never), 'parseConfig(given, options): unknown option `fil`; did you mean `file`?'],
    ['parseConfig', () => parseConfig(TIERS, { adapters: {} } as never), 'unknown option `adapters`; expected one of `env`, `codecs`, `file`'],
    ['configFromEnv', () => configFromEnv({ env: { REDIS_HOST: 'a' } } as never), 'configFromEnv(env): give the environment itself, not options with `env` in it'],
  ])('%s', async (_, call, message) => {
    const error = await failure(call)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain(message)
  })

  test.each<readonly [string, () => unknown, string]>([
    ['options that are text', () => loadCache(TIERS, 'cache.yaml' as never), 'options must be an object with one of'],
    ['no options', () => parseConfig(TIERS, null as never), 'options must be an object with one of `env`, `codecs`, `file`, not null'],
    ['an environment of text', () => loadCache(TIERS, { env: 'A=1' } as never), 'env must be an object, not a string'],
    ['an environment that is options', () => parseConfig(TIERS, { env: { env: {} } } as never), 'give the environment itself'],
    ['no environment', () => configFromEnv(null as never), 'must be an object of texts'],
    ['a variable that is no text', () => configFromEnv({ REDIS_HOST: 'a', REDIS_PORT: 6379 } as never), 'the environment variable REDIS_PORT must be text, not a number'],
    ['one codec', () => parseConfig(TIERS, { codecs: { id: 'a' } } as never), 'codecs must be a list, not an object'],
    ['a directory that is a URL', () => loadCache(TIERS, { directory: new URL('file:///x') } as never), 'directory must be text, not a URL'],
    ['an adapter of text', () => loadCache(TIERS, { adapters: { redis: '@thermocline/redis' } } as never), "adapters.redis must be what @thermocline/redis exports (import * as redis from '@thermocline/redis'), or an adapter of your own"],
    ['a module without an adapter', () => loadCache(TIERS, { adapters: { dynamo: { Dynamo: 1 } } }), 'adapters.dynamo must be an adapter of your own, { name, configSchema, create(config) }, or a module that exports one as cacheAdapter, not a module without it'],
  ])('%s is refused', async (_, call, message) => {
    const error = await failure(call)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain(message)
  })

  test('a variable that is no text is a problem only where it is used', () => {
    const env = { DEV: true, HOST: 'a' } as never
    expect(parseConfig({ tiers: { a: { backend: 'redis', config: { host: '${HOST}' } } } }, { env }).tiers['a']?.config).toEqual({ host: 'a' })
    expect(() => parseConfig({ tiers: { a: { backend: 'redis', config: { host: '${DEV}' } } } }, { env })).toThrow('the environment variable DEV is no text but a boolean')
  })
})

describe('a source of the wrong kind is told what to give instead, and never shown', () => {
  const texts = [
    'caching:\n  tiers:\n    hot: { backend: redis, config: { password: hunter2 } }\n',
    'tiers: { hot: { backend: redis, config: { password: hunter2 } } }',
    '{ "tiers": { "hot": { "backend": "redis", "config": { "password": "hunter2" } } } }',
    '"caching": { "tiers": "hunter2" }',
    '# hunter2',
    '--- { hunter2: 1 }',
    'redis://user:hunter2@cache:6379',
    `hunter2${'x'.repeat(5000)}`,
    'hunter2\0',
  ]
  test.each(texts)('loadCache of a text: %j', async (text) => {
    const error = await rejection(loadCache(text))
    expect(error.message).toContain('found text that is no path; `parseConfig` takes the text of a configuration')
    expect(error.file).toBeUndefined()
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('hunter2')
  })

  test('a file whose name looks like text is read where it is there', async () => {
    const directory = temporaryDirectory()
    writeFiles(directory, { 'a: b.yaml': JSON.stringify(TIERS) })
    const before = process.cwd()
    process.chdir(directory)
    try {
      await (await loadCache('a: b.yaml')).close()
    } finally {
      process.chdir(before)
    }
  })

  test.each([['cache.yaml'], ['/etc/app/cache.conf'], ['./cache'], ['~/cache'], ['C:\\app\\cache.yaml'], ['file:///etc/cache.yaml']])('parseConfig of a path: %s', async (given) => {
    expect((await failure(() => parseConfig(given))).message).toContain('`loadCache` takes the path of a file')
  })

  test.each<readonly [string, unknown, string]>([
    ['a Buffer', Buffer.from('hunter2'), 'a Buffer'],
    ['a Map', new Map([['tiers', 'hunter2']]), 'a Map'],
    ['a Date', new Date(), 'a Date'],
    ['a promise', Promise.resolve('hunter2'), 'a Promise'],
    ['a function', () => 'hunter2', 'a function'],
    ['nothing', undefined, 'undefined'],
    ['a number', 3, 'a number'],
  ])('%s', async (_, given, kind) => {
    for (const call of [() => loadCache(given as never), () => parseConfig(given as never)]) {
      const error = await failure(call)
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain(`not ${kind}`)
      expect(inspect(error)).not.toContain('hunter2\'')
    }
  })

  test('an address of something else than a file, and no path', async () => {
    const error = await failure(() => loadCache(new URL('https://user:hunter2@example.org/cache.yaml')))
    expect(error).toBeInstanceOf(TypeError)
    expect(inspect(error)).not.toContain('hunter2')
    expect((await rejection(loadCache(''))).message).toContain('found empty text')
  })

  test('a text that cannot be read leaves no trace of itself in the error', () => {
    for (const text of ['password: "hunter2', 'password: *hunter2', 'a: !hunter2 x', '- hunter2\nb: 1', '%hunter2\n---\n', 'password: hunter2: hunter2', '<<: hunter2', '? { hunter2: 1 }\n: 1']) {
      let error: unknown
      try {
        parseConfig(text)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toBeInstanceOf(ConfigError)
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('hunter2')
    }
  })

  test('nor does the cause of what an adapter refuses', async () => {
    const cacheAdapter = {
      name: 'mine',
      configSchema: { type: 'object', properties: { url: { type: 'string' } } },
      create: (config: { url?: string }) => {
        new URL(`${config.url}[`)
        throw new Error('unreachable')
      },
    }
    const error = await rejection(loadCache({ tiers: { a: { backend: 'mine', config: { url: 'redis://u:hunter2@[' } } } }, { adapters: { mine: cacheAdapter } }))
    expect(inspect(error, { depth: 10 })).not.toContain('hunter2')
  })
})

describe('adapters that were imported', () => {
  const backendOf = (config: object) => ({
    name: 'given',
    capabilities: { synchronous: true, shared: false, durable: false, streams: false, keeps: 'value' },
    config,
    attach: () => () => undefined,
    get: () => undefined,
    put: () => true,
    delete: () => 0,
    clear: () => 0,
    list: async function* () {},
    stats: () => ({}),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  })
  const mine = (made: object[]) => ({
    name: 'mine',
    configSchema: { type: 'object', properties: { capacity: { type: 'integer', minimum: 1 } }, additionalProperties: false },
    create: (config: object) => {
      made.push(config)
      return backendOf(config)
    },
  })

  test('are used instead of looking for packages: modules of ours, of others, and what these export', async () => {
    const memory = await import('@thermocline/memory')
    const local = await import('@thermocline/fs')
    const made: object[] = []
    const adapter = mine(made)
    const tiers = {
      a: { backend: 'memory', fallback: undefined },
      b: { backend: 'fs', config: { base_path: path.join(temporaryDirectory(), 'b') } },
      c: { backend: 'dynamo', config: { capacity: '${N}' }, fallback: { max_entries: 3 } },
      d: { backend: '@acme/cache' },
      e: { backend: './mine.js' },
    }
    const adapters = { memory: { default: memory }, local, dynamo: adapter, '@acme/cache': { cacheAdapter: adapter }, './mine.js': { default: { cacheAdapter: adapter } } }
    const cache = await loadCache({ tiers }, { adapters, env: { N: '3' } })
    expect(made).toEqual([{ capacity: 3 }, {}, {}])
    const acme = cache.tenant('acme')
    expect(await acme.getOrCompute('x', () => 7)).toBe(7)
    expect(await acme.get('x')).toBe(7)
    await cache.close()
  })

  test('of the name of a built-in one go before it, with their own schema', async () => {
    const made: object[] = []
    const cache = await loadCache({ tiers: { a: { backend: 'redis', config: { capacity: 2 } } } }, { adapters: { redis: mine(made) } })
    expect(made).toEqual([{ capacity: 2 }])
    await cache.close()
    const { problems } = await rejection(loadCache({ tiers: { a: { backend: 'redis', config: { url: 'redis://x' } } } }, { adapters: { redis: mine(made) } }))
    expect(problems.map(({ path: at }) => at)).toEqual(['tiers.a.config.url'])
  })
})
