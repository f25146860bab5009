import { expect, jest, test } from '@jest/globals'

// the packages of this workspace are always found; here, that of the memory backend is not
jest.unstable_mockModule('../src/adapters/resolve.js', () => ({ isModulePath: () => false, resolveModule: (specifier: string) => (specifier === '@thermocline/memory' ? undefined : '/nowhere.js') }))
const { loadCache } = await import('../src/load-cache.js')

test.each([
  ['in `config`', { backend: 'redis', config: { fallback: { max_entries: 1 } } }, 'tiers.hot.config.fallback'],
  ['in the tier', { backend: '@acme/any', fallback: { max_entries: 1 } }, 'tiers.hot.fallback'],
])('a `fallback` %s needs the package of the memory backend', async (_, hot, path) => {
  await expect(loadCache({ tiers: { hot } })).rejects.toMatchObject({
    problems: expect.arrayContaining([{ path, message: 'the package of this backend is not installed; run: npm install @thermocline/memory' }]),
  })
})
