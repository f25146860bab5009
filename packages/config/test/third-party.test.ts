import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { loadCache } from '@thermocline/config'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { rejection, writeFiles } from './support.js'

const ADAPTER = `
class MapBackend {
  name = 'map'
  capabilities = { synchronous: true, shared: false, durable: false, streams: false, keeps: 'value' }
  constructor(config) { this.config = config; this.map = new Map(); globalThis.adapterConfigs?.push(config) }
  attach() { return () => {} }
  get(scope, key) { return this.map.get(scope.tenant + '/' + key) }
  put(scope, key, entry) { this.map.set(scope.tenant + '/' + key, entry); return true }
  delete(scope, keys) { return keys.filter((key) => this.map.delete(scope.tenant + '/' + key)).length }
  clear() { const { size } = this.map; this.map.clear(); return size }
  async *list() {}
  stats() { return { entries: this.map.size } }
  async [Symbol.asyncDispose]() { globalThis.adapterDisposals = (globalThis.adapterDisposals ?? 0) + 1 }
}
const schema = {
  type: 'object',
  properties: {
    table: { type: 'string' },
    capacity: { $ref: '#/definitions/capacity' },
    mode: { anyOf: [{ type: 'boolean' }, { type: 'object', properties: { depth: { type: 'integer' } } }] },
    token: { type: 'string', minLength: 3 },
  },
  required: ['table'],
  additionalProperties: false,
  definitions: { capacity: { type: 'integer', minimum: 1 } },
}
`
const MODULE = `${ADAPTER}
export const cacheAdapter = { name: 'map', configSchema: schema, create: (config) => { if (config.table === 'refused') throw new TypeError('no such table' + (config.token ? ' for ' + config.token : '')); return new MapBackend(config) } }`

/** A project with adapters installed in every way a package can be. */
function project(): string {
  const directory = temporaryDirectory()
  const asPackage = (name: string, exports: unknown, files: Record<string, string>) =>
    writeFiles(path.join(directory, 'node_modules', name), { 'package.json': JSON.stringify({ name, version: '1.0.0', type: 'module', ...(exports === undefined ? {} : { exports }) }), ...files })
  asPackage('import-only-adapter', { '.': { types: './index.d.ts', import: './lib/index.js' }, './extra': { import: './lib/extra.js' } }, { 'lib/index.js': MODULE, 'lib/extra.js': MODULE })
  asPackage('@acme/default-adapter', { '.': { types: './index.d.ts', default: './index.js' } }, { 'index.js': MODULE })
  asPackage('string-exports-adapter', './main.js', { 'main.js': MODULE })
  asPackage('no-adapter', './main.js', { 'main.js': 'export const something = 1' })
  asPackage('bad-schema-adapter', './main.js', { 'main.js': MODULE.replace("type: 'object',", "type: 'objekt',") })
  asPackage('draft-2020-adapter', './main.js', { 'main.js': MODULE.replace('const schema = {', "const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema',") })
  writeFiles(directory, { 'adapters/mine.mjs': MODULE })
  return directory
}

describe("a third party's adapter", () => {
  test.each(['import-only-adapter', 'import-only-adapter/extra', '@acme/default-adapter', 'string-exports-adapter', 'draft-2020-adapter', './adapters/mine.mjs'])(
    'is found from the directory of the file: %s',
    async (backend) => {
      const directory = project()
      writeFiles(directory, { 'cache.yaml': `tiers: { hot: { backend: "${backend}", config: { table: t } } }` })
      const cache = await loadCache(path.join(directory, 'cache.yaml'))
      const acme = cache.tenant('acme')
      expect(await acme.getOrCompute('a', () => 1)).toBe(1)
      expect(await acme.getOrCompute('a', () => 2)).toBe(1)
      await cache.close()
    },
  )

  test('is found from a directory above, and from the one that is given with an object', async () => {
    const directory = project()
    writeFiles(directory, { 'deploy/eu/cache.yaml': 'tiers: { hot: { backend: import-only-adapter, config: { table: t } } }' })
    await (await loadCache(path.join(directory, 'deploy/eu/cache.yaml'))).close()
    await (await loadCache({ tiers: { hot: { backend: './adapters/mine.mjs', config: { table: 't' } } } }, { directory })).close()
  })

  test('gets its config as it is in the file, with variables of the types that its schema has', async () => {
    const configs: unknown[] = ((globalThis as { adapterConfigs?: unknown[] }).adapterConfigs = [])
    const config = { table: '${T}', capacity: '${C}', mode: { depth: '${C}' }, token: '${C}' }
    const cache = await loadCache({ tiers: { hot: { backend: './adapters/mine.mjs', config } } }, { directory: project(), env: { T: '7', C: '123' } })
    expect(configs).toEqual([{ table: '7', capacity: 123, mode: { depth: 123 }, token: '123' }])
    await cache.close()
    delete (globalThis as { adapterConfigs?: unknown }).adapterConfigs
  })

  test('has its config checked against its schema, among all other problems', async () => {
    const config = { tabel: 'a', capacity: '${C}', mode: 'x', token: 'hu' }
    const { problems } = await rejection(
      loadCache({ tiers: { hot: { backend: '@acme/default-adapter', config, atempts: 1 } } } as never, { directory: project(), env: { C: 'many' } }),
    )
    expect(problems.map(({ path: at, message }) => `${at}: ${message}`)).toEqual([
      'tiers.hot.atempts: unknown key; did you mean `attempts`?',
      'tiers.hot.config.table: is missing: expected text',
      'tiers.hot.config.tabel: unknown key; did you mean `table`?',
      'tiers.hot.config.capacity: expected a whole number of at least 1, found text from ${C}',
      'tiers.hot.config.mode: expected one of the forms that the adapter describes, found the text "x"',
      'tiers.hot.config.token: expected text, found text',
    ])
  })

  test('that is none, or whose schema is none, is told so', async () => {
    const { problems } = await rejection(loadCache({ tiers: { a: { backend: 'no-adapter' }, b: { backend: 'bad-schema-adapter', config: { table: 't' } } } }, { directory: project() }))
    expect(problems.map(({ path: at, message }) => `${at}: ${message}`)).toEqual([
      'tiers.a.backend: no-adapter is no adapter: expected an export `cacheAdapter` of { name, configSchema, create(config) }',
      expect.stringMatching(/^tiers\.b\.backend: the configSchema of this adapter is no JSON Schema/),
    ])
  })

  test('that refuses its settings leaves no other backend open', async () => {
    const counts = globalThis as { adapterDisposals?: number }
    counts.adapterDisposals = 0
    const config = { table: 'refused' }
    const { problems } = await rejection(
      loadCache({ tiers: { a: { backend: './adapters/mine.mjs', config: { table: 't' } }, b: { backend: './adapters/mine.mjs', config } } }, { directory: project() }),
    )
    expect(problems).toEqual([{ path: 'tiers.b.config', message: './adapters/mine.mjs refuses these settings: no such table' }])
    expect(counts.adapterDisposals).toBe(1)
  })

  test('that puts a credential into its error does not make us show it', async () => {
    const error = await rejection(loadCache({ tiers: { a: { backend: './adapters/mine.mjs', config: { table: 'refused', token: 'hunter2' } } } }, { directory: project() }))
    expect(error.problems[0]?.message).toBe('./adapters/mine.mjs refuses these settings: no such table for …')
    expect(error.cause).toBeUndefined()
  })
})
