import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { parseConfig } from '@thermocline/config'
import { BUILT_IN } from '../src/adapters/built-in.js'
import { cachingSchema, POLICY_SETTINGS, TIER_SCHEMA, WRITE_BACK_SCHEMA } from '../src/schema/caching.js'
import { COMPRESSION_SCHEMA } from '../src/schema/compression.js'
import { propertyNames } from '../src/schema/keywords.js'

const read = (page: string): string => readFileSync(path.resolve(import.meta.dirname, '../../../docs', `${page}.md`), 'utf8')
/** Where the keys are: those of tiers, policies and write-back have pages of their own. */
const PAGES = ['configuration', 'tiers', 'memory', 'disk', 'redis', 's3', 'gcs', 'object-stores', 'policies', 'write-back', 'telemetry'].map(read).join('\n')
const EXAMPLES = [...read('configuration').matchAll(/```(?:yaml|json)\n([^]*?)```/g)].map(([, text]) => text ?? '')

describe('the documentation', () => {
  test('has examples', () => {
    expect(EXAMPLES.length).toBeGreaterThan(4)
  })

  test.each(EXAMPLES.map((text, index) => [index + 1, text] as const))('example %i is a valid configuration', (_, text) => {
    expect(Object.keys(parseConfig(text, { env: { REDIS_PASSWORD: 'x' } }).tiers).length).toBeGreaterThan(0)
  })

  test('names every key', () => {
    const schemas = [cachingSchema(), TIER_SCHEMA, WRITE_BACK_SCHEMA, COMPRESSION_SCHEMA, ...[...BUILT_IN.values()].map(({ configSchema }) => configSchema)]
    for (const name of new Set([...POLICY_SETTINGS, ...schemas.flatMap(propertyNames)])) expect(PAGES).toContain(`\`${name}\``)
  })
})
