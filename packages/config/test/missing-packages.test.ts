import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { SECTION_7 } from './section-7.js'

// the packages of this workspace are always found; here, those of the object stores are not
const real = await import('../src/adapters/resolve.js')
const MISSING = ['@thermocline/s3', '@thermocline/gcs']
jest.unstable_mockModule('../src/adapters/resolve.js', () => ({
  ...real,
  resolveModule: (specifier: string, directories: readonly string[]) => (MISSING.includes(specifier) ? undefined : real.resolveModule(specifier, directories)),
}))
const { loadCache } = await import('@thermocline/config')
const { temporaryDirectory } = await import('../../../test/support/afterwards.js')
const { rejection, writeFiles } = await import('./support.js')

function fileWith(text: string): string {
  const directory = temporaryDirectory()
  writeFiles(directory, { 'cache.yaml': text })
  return path.join(directory, 'cache.yaml')
}

describe('a tier whose package is not installed', () => {
  test('is told with the line that installs it, all of them in one error', async () => {
    const file = fileWith(SECTION_7)
    const error = await rejection(loadCache(file))
    expect(error.problems).toEqual([
      { path: 'caching.tiers.cold.backend', message: 'the package of this backend is not installed; run: npm install @thermocline/s3', line: 6, column: 13 },
    ])
    const both = await rejection(loadCache({ tiers: { a: { backend: 's3', config: { bucket: 'a' } }, b: { backend: 'gcs', config: { bucket: 'b' } } } }))
    expect(both.message).toContain('npm install @thermocline/s3')
    expect(both.message).toContain('npm install @thermocline/gcs')
  })

  test('is told together with everything else', async () => {
    const { problems } = await rejection(
      loadCache({ tiers: { a: { backend: 'gcs', config: { buket: 'b' } }, b: { backend: 'memory', config: { max_size: '${NONE}' } } }, policies: { p: { c: true } } }, { env: {} }),
    )
    expect(problems.map(({ path: at }) => at).sort()).toEqual(['policies.p.c', 'tiers.a.backend', 'tiers.a.config.bucket', 'tiers.a.config.buket', 'tiers.b.config.max_size'])
  })

  test('without it the documented example loads and runs, whether its servers are there or not', async () => {
    const withoutCold = SECTION_7.replace(/ {4}cold:[^]*?365 \} \] \} \}\n/, '').replaceAll(/ cold: (true|false), /g, '')
    const text = withoutCold.replace('/var/cache/app', temporaryDirectory()).replace('backend: local,', 'backend: local, budget: 30s,').replace('localhost:6379', '127.0.0.1:1')
    expect(text).not.toContain('cold')
    const cache = await loadCache(fileWith(text), { logger: false })
    const acme = cache.tenant('acme')
    expect(await acme.getOrCompute('frames/1', () => Buffer.from('frame'))).toEqual(Buffer.from('frame'))
    expect(await acme.lookup('frames/1')).toMatchObject({ status: 'fresh', tier: 'warm' })
    await cache.close()
  })
})
