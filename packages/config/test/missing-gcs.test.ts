import { expect, jest, test } from '@jest/globals'

// the packages of this workspace are always found; here, that of Cloud Storage is not
jest.unstable_mockModule('../src/adapters/resolve.js', () => ({ isModulePath: () => false, resolveModule: () => undefined }))
const { loadCache } = await import('../src/load-cache.js')

test('a gcs tier whose package is not installed is told with the line that installs it', async () => {
  await expect(loadCache({ tiers: { cold: { backend: 'gcs', config: { bucket: 'artifacts' } } } })).rejects.toMatchObject({
    problems: [{ path: 'tiers.cold.backend', message: 'the package of this backend is not installed; run: npm install @thermocline/gcs' }],
  })
})
