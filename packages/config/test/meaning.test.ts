import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { configFromEnv, parseConfig } from '@thermocline/config'
import { problemsOf, refused } from './support.js'

describe('nothing is not for ever', () => {
  const text = (life: string) => `default_ttl:${life}
tiers:
  hot: { backend: memory, max_ttl:${life}, config: { default_ttl:${life} } }
  warm:
    backend: redis
    default_ttl:${life}
policies:
  frames:
    hot: { ttl:${life} }
    ttl:${life}
`
  test('an empty time to live is a problem, wherever one may stand', () => {
    const { problems } = refused(text(''))
    expect(problems.map(({ path: at }) => at)).toEqual(['default_ttl', 'tiers.hot.max_ttl', 'tiers.hot.config.default_ttl', 'tiers.warm.default_ttl', 'policies.frames.hot.ttl', 'policies.frames.ttl'])
    for (const { message } of problems) expect(message).toBe('is empty: write `null` for ever, or leave the key out')
    expect(problems[0]).toMatchObject({ line: 1, column: 1 })
  })

  test.each([' null', ' ~', ' Null', ' .inf'])('%p is for ever', (life) => {
    const { defaultTtl, tiers, policies } = parseConfig(text(life))
    expect([defaultTtl, tiers['hot']?.maxTtl, tiers['hot']?.defaultTtl, tiers['warm']?.defaultTtl, policies['frames']?.ttl]).toEqual([null, null, null, null, null])
  })

  test.each(['x-a: &a\n', 'x-a: &a # soon\n'])('an alias for nothing is nothing', (anchor) => {
    expect(problemsOf(`${anchor}caching:\n  default_ttl: *a\n  tiers: { hot: { backend: memory } }`)).toEqual([expect.stringContaining('is empty: write `null`')])
  })

  test('what is merged in may be nothing too', () => {
    expect(problemsOf('x-a: &a { ttl: }\ncaching:\n  tiers: { hot: { backend: memory } }\n  policies: { p: { hot: true, <<: *a } }')).toEqual([expect.stringMatching(/^caching\.policies\.p\.ttl: is empty/)])
  })

  test('nothing elsewhere is called so', () => {
    expect(problemsOf('tiers:\n  hot:\npolicies:\n  p:\n')).toEqual(['tiers.hot: expected a map, found nothing', 'policies.p: expected a map, found nothing'])
    expect(problemsOf('caching:')).toEqual(['caching: expected a map with tiers, found nothing'])
    expect(problemsOf('tiers:\n  hot:\n    backend:\n')).toEqual(['tiers.hot.backend: expected text, found nothing'])
  })
})

describe('too large a number is not for ever', () => {
  test.each(['1e400', '-1e400', '1'.repeat(400)])('%s is refused wherever it stands', (number) => {
    for (const text of [`default_ttl: ${number}\ntiers: { hot: { backend: memory } }`, `x-a: [${number}]\ntiers: { hot: { backend: memory } }`]) {
      const { problems } = refused(text)
      expect(problems).toEqual([{ path: '', line: 1, column: expect.any(Number), message: expect.stringContaining('a number is too large') }])
    }
  })

  test('also from the environment, as text with a unit, or once it is in milliseconds or bytes', () => {
    const digits = '9'.repeat(400)
    const life = (ttl: unknown, env: Record<string, string> = {}) => problemsOf({ default_ttl: ttl, tiers: { hot: { backend: 'memory' } } } as never, { env })
    for (const ttl of [`${digits}d`, 1e306]) expect(life(ttl)).toEqual([expect.stringMatching(/^default_ttl: expected a number of seconds/)])
    expect(life('${T}', { T: '1e400' })).toEqual([expect.stringMatching(/^default_ttl: .*found text from \$\{T\}$/)])
    const size = (config: Record<string, unknown>, backend = 'memory') => problemsOf({ tiers: { hot: { backend, config } } })
    expect(size({ max_size: `${digits}gb` })).toHaveLength(1)
    expect(size({ max_size_mb: 1e305 })).toHaveLength(1)
    expect(size({ base_path: 'x', max_size_gb: 1e305 }, 'local')).toHaveLength(1)
    for (const env of [{ CACHE_DEFAULT_TTL: '1e400' }, { CACHE_TTL_SECONDS: '1e400' }, { CACHE_DEFAULT_TTL: `${digits}d` }, { CACHE_MAX_SIZE: '1e400' }, { CACHE_MAX_SIZE: `${digits}gb` }]) expect(() => configFromEnv(env)).toThrow(Object.keys(env)[0])
  })
})

describe('one document', () => {
  test.each([
    ['tiers: { hot: { backend: memory } }\n---\npolicies: {}\n', 2],
    ['---\ntiers: { hot: { backend: memory } }\n...\n---\na: 1\n', 4],
    ['---\n---\ntiers: { hot: { backend: memory } }\n', 2],
    ['tiers: { hot: { backend: memory } }\n---\n---\n', 2],
  ])('is what a text has: %p', (text, line) => {
    expect(refused(text, { file: 'cache.yaml' }).problems).toEqual([{ path: '', line, column: 1, message: expect.stringContaining('expected one document, and another one begins here') }])
  })

  test('may begin and end with its marks', () => {
    expect(parseConfig('# caches\n---\ntiers: { hot: { backend: memory } }\n...\n# end\n').tiers).toHaveProperty('hot')
  })
})

describe('`~` at the beginning of a path', () => {
  const env = { HOME: '/home/ada', DIR: '~/from-env' }
  const parsed = (base: string, more = {}) => parseConfig({ tiers: { warm: { backend: 'local', config: { base_path: base } } }, ...more }, { env })
  const basePath = (base: string) => parsed(base).tiers['warm']?.config['base_path']

  test('is the home directory', () => {
    expect(basePath('~/cache')).toBe('/home/ada/cache')
    expect(basePath('~')).toBe('/home/ada')
    expect(basePath('${DIR}/x')).toBe('/home/ada/from-env/x')
    expect(parseConfig({ tiers: { warm: { backend: 'local', config: { base_path: '~/cache' } } } }, { env: {} }).tiers['warm']?.config['base_path']).toBe(path.join(os.homedir(), 'cache'))
  })

  test('also of the journal, and of files that settings name', () => {
    expect(parsed('x', { write_back: { directory: '~/journal' } }).writeBack?.directory).toBe('/home/ada/journal')
    const { tiers } = parseConfig({ tiers: { a: { backend: 'redis', config: { tls: { ca_file: '~/ca.pem', cert_file: '~/c.pem', key_file: '~/k.pem' } } }, b: { backend: 'gcs', config: { bucket: 'b', key_file: '~/key.json' } } } }, { env })
    expect(tiers['a']?.config['tls']).toEqual({ ca_file: '/home/ada/ca.pem', cert_file: '/home/ada/c.pem', key_file: '/home/ada/k.pem' })
    expect(tiers['b']?.config['key_file']).toBe('/home/ada/key.json')
  })

  test('is text like any other in other places', () => {
    expect(basePath('./~/cache')).toBe('./~/cache')
    expect(basePath('/a/~/b')).toBe('/a/~/b')
    expect(parseConfig({ tiers: { a: { backend: 's3', config: { bucket: 'b', prefix: '~/x' } } } }, { env }).tiers['a']?.config['prefix']).toBe('~/x')
  })

  test('with a name after it is refused', () => {
    expect(problemsOf({ tiers: { warm: { backend: 'local', config: { base_path: '~bob/cache' } } } })).toEqual([expect.stringMatching(/^tiers\.warm\.config\.base_path: begins with `~` and a name: write the home directory/)])
  })
})

describe('a setting at the wrong level', () => {
  const tiers = { hot: { backend: 'memory' }, warm: { backend: 'local', config: { base_path: 'x' } }, shared: { backend: 'redis' } }
  test.each<readonly [string, unknown, readonly unknown[]]>([
    ['an adapter setting beside config', { tiers: { ...tiers, warm: { backend: 'local', base_path: 'x' } } }, [expect.stringMatching(/config\.base_path: is missing/), 'tiers.warm.base_path: unknown key here; it belongs in `tiers.warm.config`']],
    ['the same in another spelling', { tiers: { hot: { backend: 'memory', maxEntries: 3 } } }, ['tiers.hot.maxEntries: unknown key here; it belongs in `tiers.hot.config`, as `max_entries`']],
    ['a setting of a map in config, beside it', { tiers: { shared: { backend: 'redis', config: { max_connections: 3 } } } }, ['tiers.shared.config.max_connections: unknown key here; it belongs in `tiers.shared.config.pool`']],
    ['a setting of config in a map of it', { tiers: { shared: { backend: 'redis', config: { pool: { url: 'redis://x' } } } } }, ['tiers.shared.config.pool.url: unknown key here; it belongs in `tiers.shared.config`']],
    ['a setting of the tier in config', { tiers: { hot: { backend: 'memory', config: { max_ttl: 3, budget: '1s' } } } }, ['tiers.hot.config.max_ttl: unknown key here; it belongs in the tier itself, beside `config`', 'tiers.hot.config.budget: unknown key here; it belongs in the tier itself, beside `config`']],
    ['a setting of another backend', { tiers: { hot: { backend: 'memory', config: { bucket: 'b' } } } }, ['tiers.hot.config.bucket: unknown key here; it belongs in the `config` of a tier with the backend s3 or gcs, which this one is not']],
    ['a ttl of a tier', { tiers: { hot: { backend: 'memory', ttl: 3 } } }, [expect.stringMatching(/^tiers\.hot\.ttl: unknown key here; a tier has `default_ttl` .* and `max_ttl`/)]],
    ['a ttl in config', { tiers: { hot: { backend: 'memory', config: { ttl: 3 } } } }, [expect.stringMatching(/^tiers\.hot\.config\.ttl: unknown key here; .*`default_ttl`/)]],
    ['a ttl of everything', { tiers, ttl: 3 }, ['ttl: unknown key here; here it is `default_ttl`; `ttl` belongs in a policy']],
    ['a default ttl in a policy', { tiers, policies: { p: { hot: true, default_ttl: 3 } } }, ['policies.p.default_ttl: unknown key here; in a policy it is `ttl`; `default_ttl` belongs in a tier or in `the document itself`']],
    ['a write mode in a policy', { tiers, policies: { p: { hot: true, write: 'around' } } }, ['policies.p.write: unknown key here; it belongs in a tier of a policy, such as `hot: { write: through }`']],
    ['a mode of a tier in a policy', { tiers, policies: { p: { hot: true, promote: false } } }, ['policies.p.promote: unknown key here; it belongs in a tier of a policy, such as `hot: { write: through }`']],
    ['a codec of a tier', { tiers: { hot: { backend: 'memory', codec: 'json' } } }, ['tiers.hot.codec: unknown key here; it belongs in a policy']],
    ['a setting of the journal', { tiers, directory: '/x' }, ['directory: unknown key here; it belongs in `write_back`']],
    ['a tier beside tiers', { tiers, cold: { backend: 's3', config: { bucket: 'b' } } }, ['cold: unknown key here; it belongs in `tiers`']],
    ['a policy beside policies', { tiers, frames: { hot: true, ttl: 3 } }, ['frames: unknown key here; it belongs in `policies`']],
    ['policies among the tiers', { tiers: { ...tiers, policies: { p: { hot: true } } } }, ['tiers.policies: is a setting and no tier: it belongs in the document itself, beside `tiers`']],
    ['the journal among the tiers', { caching: { tiers: { ...tiers, write_back: { max_size: 1 } } } }, ['caching.tiers.write_back: is a setting and no tier: it belongs in `caching`, beside `tiers`']],
    ['a setting among the policies', { tiers, policies: { default_ttl: 3 } }, ['policies.default_ttl: is a setting and no policy: it belongs in the document itself, beside `tiers`']],
    ['policies beside caching', { caching: { tiers }, policies: { p: { hot: true } } }, ['policies: unknown key here; it belongs in `caching`, beside `tiers`']],
    ['a default ttl beside caching', { caching: { tiers }, default_ttl: 3 }, ['default_ttl: unknown key here; it belongs in `caching`, beside `tiers`']],
    ['an adapter setting in a policy', { tiers, policies: { p: { hot: true, base_path: 'x' } } }, ['policies.p.base_path: unknown key here; it belongs in the `config` of a tier with the backend local']],
  ])('%s', (_, given, problems) => {
    const told = problemsOf(given as never)
    expect(told).toEqual(expect.arrayContaining([...problems]))
    expect(told).toHaveLength(problems.length)
  })

  test('what is no setting anywhere is told as before', () => {
    expect(problemsOf({ tiers: { hot: { backend: 'memory', max_tll: 1 } } } as never)).toEqual(['tiers.hot.max_tll: unknown key; did you mean `max_ttl`?'])
    expect(parseConfig({ tiers: { telemetry: { backend: 'memory' } }, policies: { telemetry: { telemetry: true } } }).tiers).toHaveProperty('telemetry')
  })
})

describe('a wrong value is shown as it stands in the file', () => {
  const shown = (text: string, field = 'fsync') => problemsOf(`tiers: { warm: { backend: local, config: { base_path: x, ${field}: ${text} } } }`)[0]
  test.each([
    ['yes', 'found the text "yes"'],
    ['"true"', 'found the text "true"'],
    ['0x1F', 'found 0x1F'],
    ['1.50', 'found 1.50'],
    ['.NaN', 'found .NaN'],
    ['~', 'found ~'],
    ['null', 'found null'],
    ['', 'found nothing'],
    ['[1]', 'found a list'],
    ['{ a: 1 }', 'found a map'],
    ['""', 'found empty text'],
  ])('%s', (text, message) => {
    expect(shown(text)).toMatch(new RegExp(`${message.replace(/[.[\]]/g, '\\$&')}$`))
  })

  test.each(['redis://u:hunter2@h', 'u:hunter2@h', '/var/hunter2', 'ghp0123456789abcdefghij', 'AKIAIOSFODNN7EXAMPLE', 'hunter2\\nhunter2', 'hunter2 '.repeat(10)])('what may be a credential is not: %s', (text) => {
    expect(shown(JSON.stringify(text).replaceAll('\\\\', '\\'))).toMatch(/found text$/)
  })

  test('nor is a text that stands in a credential of the document too', () => {
    const config = (password: string) => ({ tiers: { a: { backend: 'redis', config: { eviction_policy: 'hunter2', password } } } })
    expect(problemsOf(config('hunter2'))[0]).toMatch(/found text$/)
    expect(problemsOf(config('other'))[0]).toMatch(/found the text "hunter2"$/)
    expect(problemsOf({ tiers: { a: { backend: 'redis', config: { db: 'hunter2', url: 'redis://x:hunter2@h' } } } })[0]).toMatch(/found text$/)
  })

  test.each(['password', 'url', 'username_token', 'api_key', 'secret'])('nor is anything in a field that is called %s', (field) => {
    for (const value of ['hunter2', 12345, true]) expect(JSON.stringify(problemsOf({ tiers: { a: { backend: 'redis', config: { [field]: value, [`${field}s`]: { a: value } } } } }))).not.toContain(String(value))
  })
})
