import { choice, map, wholeNumber } from './fields.js'
import type { JsonSchema } from './json-schema.js'

/** Core's algorithms, with the least and the most of their levels. */
export const COMPRESSIONS = { gzip: [1, 9], brotli: [0, 11], zstd: [1, 22] } as const

const NAMES = Object.keys(COMPRESSIONS)

/** Which levels there are depends on the algorithm. */
function levelsOf([name, [least, most]]: [name: string, levels: readonly [number, number]]): JsonSchema {
  return {
    if: { properties: { algorithm: { const: name } }, required: ['algorithm'] },
    then: { properties: { level: { type: 'integer', minimum: least, maximum: most, expected: `a whole number from ${least} to ${most} for ${name}` } } },
  }
}

/** `compression` of a policy: a name, or a map with settings. */
export const COMPRESSION_SCHEMA: JsonSchema = {
  ...map(
    'Compresses payloads for the tiers that keep bytes: a name, or a map with settings. zstd needs Node 22.15. Default: none.',
    {
      algorithm: choice('What compresses.', NAMES),
      level: { description: "The algorithm's own: gzip 1 to 9 (default 6), brotli 0 to 11 (default 4), zstd 1 to 22 (default 3)." },
      threshold: wholeNumber('Payloads of fewer bytes stay as they are.', 0, { default: 1024 }),
    },
    { required: ['algorithm'] },
  ),
  type: ['string', 'boolean', 'object'],
  pattern: `^(${NAMES.join('|')})$`,
  not: { const: true },
  allOf: Object.entries(COMPRESSIONS).map(levelsOf),
  examples: NAMES,
  expected: '`gzip`, `brotli`, `zstd`, false or a map of algorithm, level and threshold',
}
