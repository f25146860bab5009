import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { ConfigError, loadCache } from '@thermocline/config'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { rejection, writeFiles } from './support.js'
import { SECTION_7 } from './section-7.js'

function fileWith(text: string, name = 'cache.yaml'): string {
  const directory = temporaryDirectory()
  writeFiles(directory, { [name]: text })
  return path.join(directory, name)
}

describe('a cache from a file', () => {
  test('runs as configured', async () => {
    const file = fileWith(`caching:
  tiers:
    hot: { backend: memory, config: { max_size_mb: 1.5, max_entries: 10, isolation: clone, tenant_quota: { max_entries: 3, max_size: 1mb } } }
    warm:
      backend: local
      budget: 30s
      config: { base_path: "\${DIR}/disk", max_size_gb: 0.5, cleanup_interval: 3600, fsync: true, default_ttl: 60 }
  policies:
    embeddings: { hot: false, warm: true, ttl: null }
`)
    const cache = await loadCache(file, { env: { DIR: path.dirname(file) }, clock: { now: () => 1_000_000 } })
    const acme = cache.tenant('acme')
    await acme.set('embeddings/a', [1, 2])
    await acme.set('pages/a', { text: 'x' })
    expect(await acme.lookup('embeddings/a')).toMatchObject({ status: 'fresh', tier: 'warm', expiresAt: null })
    expect(await acme.lookup('pages/a')).toMatchObject({ tier: 'hot' })
    const { tiers } = await cache.stats()
    expect(tiers['hot']).toMatchObject({ backend: 'memory' })
    expect(existsSync(path.join(path.dirname(file), 'disk', 'thermocline'))).toBe(true)
    await cache.close()
  })

  test('default_ttl in the config of a tier is the default of that tier', async () => {
    const cache = await loadCache(
      { default_ttl: '1h', tiers: { hot: { backend: 'memory', config: { default_ttl: 60 } } } },
      { clock: { now: () => 1_000_000 } },
    )
    const acme = cache.tenant('acme')
    await acme.set('a', 1)
    expect(await acme.lookup('a')).toMatchObject({ expiresAt: 1_060_000 })
    await cache.close()
  })

  test('may be JSON, and may be named by a URL', async () => {
    const file = fileWith(JSON.stringify({ caching: { tiers: { hot: { backend: 'memory' } } } }), 'cache.json')
    const cache = await loadCache(pathToFileURL(file))
    expect(await cache.tenant('acme').getOrCompute('a', () => 3)).toBe(3)
    await cache.close()
  })

  test('that is not there is an error that names it', async () => {
    const missing = path.join(temporaryDirectory(), 'none.yaml')
    const error = await rejection(loadCache(missing))
    expect(error.message).toContain(`${missing} has a problem:\n  - cannot be read: there is no such file`)
    expect((await rejection(loadCache('nope.yaml'))).message).toContain(`there is no such file; looked for ${path.resolve('nope.yaml')}`)
    expect((await rejection(loadCache(path.dirname(missing)))).message).toContain('it is a directory')
    await expect(loadCache(3 as never)).rejects.toThrow(TypeError)
  })

  test('what only a backend can refuse is a problem of its tier', async () => {
    const error = await rejection(loadCache({ tiers: { hot: { backend: 'local', config: { base_path: 'a\0b' } } } }))
    expect(error.problems[0]).toMatchObject({ path: 'tiers.hot.config', message: expect.stringContaining('basePath') })
  })
})

describe('a tier whose package is not installed', () => {
  test('of a third party gets its line too, and a near miss never does', async () => {
    const { problems } = await rejection(loadCache({ tiers: { a: { backend: '@acme/cache-thing/adapter' }, b: { backend: 'memroy' }, c: { backend: 'rm -rf /' }, d: { backend: './none.js' }, e: { backend: 'disk' }, f: { backend: 'Valkey' }, g: { backend: 'couch' } } }))
    expect(problems.map(({ message }) => message)).toEqual([
      'no built-in backend has that name (they are memory, local, fs, redis, s3, gcs), and no such package is installed; run: npm install @acme/cache-thing',
      'no backend and no installed package has that name; did you mean `memory`?',
      expect.stringContaining('expected a built-in backend (memory, local'),
      expect.stringContaining('there is no module "./none.js"'),
      'no backend and no installed package has that name; did you mean `local`?',
      'no backend and no installed package has that name; did you mean `redis`?',
      'no built-in backend has that name (they are memory, local, fs, redis, s3, gcs), and no such package is installed; if couch is an adapter\'s package, install it first',
    ])
  })
})

describe('enabled: false', () => {
  test('computes every time, needs no package and makes no directory', async () => {
    const directory = temporaryDirectory()
    const text = SECTION_7.replace('enabled: true', 'enabled: ${ON:-no}').replace('/var/cache/app', path.join(directory, 'disk'))
    const cache = await loadCache(fileWith(text))
    const acme = cache.tenant('acme')
    let computed = 0
    const compute = () => ++computed
    expect(await acme.getOrCompute('frames/1', compute)).toBe(1)
    expect(await acme.getOrCompute('frames/1', compute, { tiers: { hot: false }, policy: 'embeddings' })).toBe(2)
    await acme.set('frames/1', 3)
    expect(await acme.get('frames/1')).toBeUndefined()
    expect(await acme.clear()).toBeUndefined()
    expect(await acme.delete('frames/1')).toBeUndefined()
    for await (const entry of acme.list()) throw new Error(`listed ${entry.key}`)
    expect((await cache.stats()).hits).toBe(0)
    await cache.close()
    expect(readdirSync(directory)).toEqual([])
  })

  test('is still checked', async () => {
    const { problems } = await rejection(loadCache({ enabled: false, tiers: { a: { backend: 's3' } } }))
    expect(problems.map(({ path: at }) => at)).toEqual(['tiers.a.config.bucket'])
  })
})

describe('the error', () => {
  test('is a ConfigError with problems, the file and the cause', async () => {
    const file = fileWith('tiers: { hot: { backend: ./broken.mjs } }')
    writeFiles(path.dirname(file), { 'broken.mjs': 'throw new Error("broken on purpose")' })
    const error = await rejection(loadCache(file))
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.name).toBe('ConfigError')
    expect(error.file).toBe(file)
    expect(error.problems[0]?.message).toBe('./broken.mjs is installed and cannot be loaded: broken on purpose')
    expect(error.cause).toMatchObject({ message: 'broken on purpose' })
  })
})
