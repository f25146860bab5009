import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { loadCache, parseConfig, presets } from '@thermocline/config'
import { temporaryDirectory } from '../../../test/support/afterwards.js'

const CONFIGS = path.resolve(import.meta.dirname, '../../../configs')

describe('presets', () => {
  test('exist for development, test and production, and each is valid', () => {
    expect(Object.keys(presets)).toEqual(['development', 'test', 'production'])
    for (const preset of Object.values(presets)) expect(Object.keys(parseConfig(preset).tiers)[0]).toBe('hot')
  })

  test('can be loaded by name', async () => {
    const cache = await loadCache({ preset: 'test' })
    expect(await cache.tenant('acme').getOrCompute('a', () => 1)).toBe(1)
    await cache.close()
  })

  test('can be named by the environment, below `caching` or without it', () => {
    expect(parseConfig('preset: ${APP_ENV:-development}', { env: {} })).toEqual(parseConfig(presets.development))
    expect(parseConfig('caching: { preset: "${APP_ENV:-development}" }', { env: { APP_ENV: 'test' } })).toEqual(parseConfig(presets.test))
  })

  test('are overridden by own keys, and their tiers can be named by policies', () => {
    const base = temporaryDirectory()
    const { tiers, policies, defaultTtl } = parseConfig({
      preset: 'production',
      default_ttl: '2h',
      tiers: { warm: { config: { base_path: base } }, cold: { backend: 's3', config: { bucket: 'b' } } },
      policies: { frames: { hot: false, warm: true, cold: true } },
    })
    expect(defaultTtl).toBe('2h')
    expect(Object.keys(tiers)).toEqual(['hot', 'warm', 'cold'])
    expect(tiers['warm']?.config).toEqual({ ...presets.production.tiers.warm.config, base_path: base })
    expect(policies['frames']?.tiers).toEqual({ hot: false, warm: true, cold: true })
  })

  test('lose a tier to one of the same name with another backend', () => {
    expect(parseConfig({ preset: 'production', tiers: { warm: { backend: 'redis', config: { url: 'redis://a' } } } }).tiers['warm']).toEqual({ backend: 'redis', config: { url: 'redis://a' } })
  })
})

describe('the example files', () => {
  const files = readdirSync(CONFIGS).filter((name) => ['development.yaml', 'test.yaml', 'production.yaml', 'memory-disk.yaml'].includes(name))
  const read = (name: string) => readFileSync(path.join(CONFIGS, name), 'utf8')

  test.each(files)('%s loads and runs, and tells editors its schema', async (name) => {
    expect(read(name)).toMatch(/^# yaml-language-server: \$schema=\.\.\/packages\/config\/schema\/thermocline\.schema\.json\n/)
    const base = temporaryDirectory()
    const { parse } = await import('yaml')
    const text = read(name).replaceAll(/base_path: (\.thermocline|\/var\/cache\/thermocline|\$\{[^}]*\})/g, `base_path: ${base}`)
    const cache = await loadCache(parse(text) as never, { env: {} })
    expect(await cache.tenant('acme').getOrCompute('documents/a', () => 1)).toBe(1)
    await cache.close()
  })

  test.each(['development', 'test', 'production'] as const)('%s.yaml says the same as the preset', (name) => {
    expect(parseConfig(read(`${name}.yaml`))).toEqual(parseConfig(presets[name]))
  })

  test('all four are there', () => {
    expect(files).toHaveLength(4)
  })
})
