import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseConfig } from '@thermocline/config'
import { literally, substitute } from '../src/environment/substitute.js'
import { problemsOf } from './support.js'

const config = (settings: string, env: Record<string, string>, backend = 'memory') =>
  parseConfig(`tiers:\n  hot:\n    backend: ${backend}\n    config:\n${settings.replace(/^/gm, '      ')}`, { env }).tiers['hot']?.config

describe('${NAME} in a configuration', () => {
  test('becomes the type of its field', () => {
    const text = `caching:
  enabled: \${ON}
  default_ttl: \${TTL}
  tiers:
    hot:
      backend: \${BACKEND:-memory}
      attempts: \${N}
      config: { max_size_mb: "\${MB}", max_size: "\${NONE:-}", max_entries: "\${N}" }
    warm: { backend: redis, config: { password: "\${N}", db: "\${N}" } }
  policies:
    frames: { hot: "\${ON}", warm: "\${YES}", ttl: "\${FOREVER}" }
`
    const env = { ON: 'false', YES: 'true', TTL: '90', N: '3', MB: '0.5', FOREVER: 'null' }
    expect(parseConfig(text.replace(' max_size: "${NONE:-}",', ''), { env })).toMatchObject({
      enabled: false,
      defaultTtl: 90,
      tiers: { hot: { backend: 'memory', attempts: 3, config: { max_size_mb: 0.5, max_entries: 3 } }, warm: { config: { password: '3', db: 3 } } },
      policies: { frames: { tiers: { hot: false, warm: true }, ttl: null } },
    })
  })

  test('becomes a number, or text, where a field takes both', () => {
    expect(config('max_size: ${SIZE}', { SIZE: '1048576' })).toEqual({ max_size: 1_048_576 })
    expect(config('max_size: ${SIZE}', { SIZE: '10mb' })).toEqual({ max_size: '10mb' })
    expect(config('max_size: ${N}mb', { N: '10' })).toEqual({ max_size: '10mb' })
  })

  test('takes its default when the variable is not set or empty', () => {
    expect(config('base_path: ${DIR:-/var/a}', {}, 'local')).toEqual({ base_path: '/var/a' })
    expect(config('base_path: ${DIR:-/var/a}', { DIR: '' }, 'local')).toEqual({ base_path: '/var/a' })
    expect(config('base_path: ${DIR:-/var/a}', { DIR: '/b' }, 'local')).toEqual({ base_path: '/b' })
    expect(config('base_path: "${DIR:-a b: {c, [}"', {}, 'local')).toEqual({ base_path: 'a b: {c, [' })
  })

  test('may stand several times in one scalar, beside text and `$`', () => {
    expect(config('base_path: /${A}/$B/${C:-c}/$${D}/$', { A: 'a' }, 'local')).toEqual({ base_path: '/a/$B/c/${D}/$' })
  })

  test('is never read as YAML', () => {
    const value = 'x", max_size: 1 }\n      fsync: true\n# {[*&!|>'
    expect(config('base_path: ${DIR}', { DIR: value }, 'local')).toEqual({ base_path: value })
    expect(config('base_path: ${DIR}', { DIR: '${OTHER}' }, 'local')).toEqual({ base_path: '${OTHER}' })
  })

  test('is put into objects too, and its names into none of the keys', () => {
    expect(parseConfig({ tiers: { hot: { backend: '${B}' } } }, { env: { B: 'memory' } }).tiers['hot']?.backend).toBe('memory')
    expect(problemsOf({ tiers: { hot: { backend: 'memory', '${B}': 1 } } } as never, { env: { B: 'budget' } })).toHaveLength(1)
  })

  test('of a variable that is not set is a problem that names it, among the others', () => {
    expect(problemsOf({ tiers: { hot: { backend: 'redis', config: { url: '${REDIS_URL}', password: '${A}${A}${B}', prt: 1 } } } })).toEqual([
      'tiers.hot.config.url: the environment variable REDIS_URL is not set; set it, or give a default: ${REDIS_URL:-value}',
      expect.stringMatching(/^tiers\.hot\.config\.password: the environment variable A is not set; .*; the environment variable B is not set/),
      'tiers.hot.config.prt: unknown key; did you mean `port`?',
    ])
  })

  test('of an inherited property of the environment is not set', () => {
    expect(problemsOf({ tiers: { hot: { backend: '${toString}' } } })[0]).toContain('toString is not set')
  })

  test('that does not fit its field is told by name and without its value', () => {
    const env = { N: 'hunter2', M: '1.5' }
    expect(problemsOf({ tiers: { hot: { backend: 'memory', config: { max_entries: '${N}', max_size: '${M}' }, default_ttl: '${N}' } } }, { env })).toEqual([
      expect.stringMatching(/^tiers\.hot\.default_ttl: expected a number of seconds.*found text from \$\{N\}$/),
      'tiers.hot.config.max_entries: expected a whole number of at least 1, found text from ${N}',
      expect.stringMatching(/^tiers\.hot\.config\.max_size: .* found a number from \$\{M\}$/),
    ])
  })

  test.each(['${', '${}', '${1A}', '${A-b}', '${A:?b}', '${A:-${B}}', '${A B}', 'x${A'])('%p is explained', (written) => {
    expect(problemsOf({ tiers: { hot: { backend: 'local', config: { base_path: written } } } }, { env: { A: 'a', B: 'b' } })[0]).toContain('expected `${NAME}` or `${NAME:-default}`')
  })

  test('is looked up in process.env by default', () => {
    process.env['THERMOCLINE_TEST_BACKEND'] = 'memory'
    try {
      expect(parseConfig({ tiers: { hot: { backend: '${THERMOCLINE_TEST_BACKEND}' } } }).tiers['hot']?.backend).toBe('memory')
    } finally {
      delete process.env['THERMOCLINE_TEST_BACKEND']
    }
  })

  test('written literally comes back as it was, whatever the text', () => {
    const pieces = fc.array(fc.constantFrom('$', '${', '}', '{', 'A', ':-', '$${', 'x'), { maxLength: 12 }).map((parts) => parts.join(''))
    fc.assert(fc.property(pieces, (text) => expect(substitute(literally(text), { A: 'a' })).toEqual({ text, variables: [], problems: [] })))
  })
})
