import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { ConfigError, loadCache } from '@thermocline/config'
import { directories } from './support/directory.js'

const EXAMPLE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const newDirectory = directories()

/** The example's configuration in a directory of its own, with the sources in the place of the built package. */
function configuration(change = (text: string): string => text): string {
  const file = path.join(newDirectory(), 'cache.yaml')
  const text = readFileSync(path.join(EXAMPLE, 'cache.yaml'), 'utf8')
  writeFileSync(file, change(text.replace('"@thermocline-internal/level-adapter"', JSON.stringify(path.join(EXAMPLE, 'src/index.ts')))))
  return file
}

test('a configuration that names the adapter loads it', async () => {
  const file = configuration()
  const env = { LEVEL_PATH: path.join(path.dirname(file), 'data'), LEVEL_SWEEP: '60' }
  for (const computed of ['first', 'second']) {
    await using cache = await loadCache(file, { env, logger: false })
    expect(await cache.tenant('acme').getOrCompute('a', () => computed)).toBe('first')
  }
})

test('its settings are checked', async () => {
  const wrong = configuration((text) => text.replace('sweep_interval: ${LEVEL_SWEEP:-30m}', 'sweep_intervall: 1h'))
  await expect(loadCache(wrong, { env: {} })).rejects.toThrow(ConfigError)
  await expect(loadCache(wrong, { env: {} })).rejects.toThrow('did you mean `sweep_interval`?')
  await expect(loadCache(configuration(), { env: { LEVEL_SWEEP: 'daily' } })).rejects.toThrow('sweepInterval must be')
})
