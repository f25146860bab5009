import { describe, expect, test } from '@jest/globals'
import { ConfigError } from '@thermocline/config'
import { problemsOf, refused } from './support.js'

const hot = (config: Record<string, unknown>, backend = 'memory') => ({ tiers: { hot: { backend, config } } })

describe('one error lists every problem', () => {
  test('with its path, what was expected, what was found and what was probably meant', () => {
    const error = refused(
      `caching:
  defualt_ttl: 3
  tiers:
    hot: { backend: memory, config: { maxEntries: 10, isolation: clon } }
    warm: { backend: local, config: { max_sise_gb: 3, fsync: "true" }, attempts: 0 }
  policies:
    frames: { hto: true, ttl: -5 }
    pages: { hot: false, warm: false }
`,
      { env: {}, file: 'cache.yaml' },
    )
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.file).toBe('cache.yaml')
    expect(error.problems).toEqual([
      { path: 'caching.defualt_ttl', message: 'unknown key; did you mean `default_ttl`?', suggestion: 'default_ttl', line: 2, column: 3 },
      { path: 'caching.tiers.hot.config.maxEntries', message: 'unknown key; did you mean `max_entries`?', suggestion: 'max_entries', line: 4, column: 39 },
      {
        path: 'caching.tiers.hot.config.isolation',
        message: 'expected one of `share`, `freeze`, `clone`, found the text "clon"; did you mean `clone`?',
        suggestion: 'clone',
        line: 4,
        column: 55,
      },
      { path: 'caching.tiers.warm.config.base_path', message: 'is missing: expected text', line: 5, column: 29 },
      { path: 'caching.tiers.warm.config.max_sise_gb', message: 'unknown key; did you mean `max_size_gb`?', suggestion: 'max_size_gb', line: 5, column: 39 },
      { path: 'caching.tiers.warm.config.fsync', message: 'expected true or false, found the text "true"', line: 5, column: 55 },
      { path: 'caching.tiers.warm.attempts', message: 'expected a whole number of at least 1, found 0', line: 5, column: 72 },
      { path: 'caching.policies.frames.hto', message: 'no tier or setting has that name; did you mean `hot`?', suggestion: 'hot', line: 7, column: 15 },
      { path: 'caching.policies.frames.ttl', message: expect.stringContaining('found -5'), line: 7, column: 26 },
      { path: 'caching.policies.pages', message: expect.stringContaining('every tier is false'), line: 8, column: 5 },
    ])
    expect(error.message).toContain('cache.yaml has 10 problems:')
    expect(error.message).toContain('  - cache.yaml:5:39 caching.tiers.warm.config.max_sise_gb: unknown key; did you mean `max_size_gb`?')
  })

  test('paths have no `caching` where the document has none', () => {
    expect(problemsOf({ tiers: { hot: { backend: 'memory', max_tll: 1 } } } as never)).toEqual(['tiers.hot.max_tll: unknown key; did you mean `max_ttl`?'])
  })
})

describe('what is refused', () => {
  test.each([
    ['a tier without a backend', { tiers: { hot: {} } }, 'tiers.hot.backend: is missing: expected text'],
    ['no tiers', { tiers: {} }, 'tiers: expected a map of at least one tier, found a map'],
    ['tiers in a list', { tiers: [] }, 'tiers: expected a map of at least one tier, found a list'],
    ['a backend that is an object', { tiers: { hot: { backend: {} } } }, 'tiers.hot.backend: expected text, found a map'],
    ['a fraction of an entry', hot({ max_entries: 1.5 }), 'tiers.hot.config.max_entries: expected a whole number of at least 1, found 1.5'],
    ['a size twice', hot({ max_size: 1, max_size_mb: 1 }), 'tiers.hot.config: `max_size` and `max_size_mb` exclude each other: give one of them'],
    ['an endless size', hot({ max_size: Number.POSITIVE_INFINITY }), /^tiers\.hot\.config\.max_size: expected a whole number of bytes/],
    ['a disk too small for its bookkeeping', hot({ base_path: '/x', max_size: '10kb' }, 'local'), /at least 65536 bytes, found the text "10kb"/],
    ['a bad lifecycle rule', hot({ bucket: 'b', lifecycle_rules: [{ expiration_days: 0 }] }, 's3'), 'tiers.hot.config.lifecycle_rules[0].expiration_days: expected a whole number of at least 1, found 0'],
    ['a bad cluster', hot({ cluster: [{ port: 70_000, host: 'a' }] }, 'redis'), 'tiers.hot.config.cluster[0].port: expected a whole number from 1 to 65535, found 70000'],
    ['a port beyond the last', hot({ host: 'a', sentinel: { name: 'a', sentinels: [{ host: 'b' }] } }, 'redis'), /`host` and `sentinel` exclude each other/],
    ['a bucket of gcs left out', hot({ project_id: 'p' }, 'gcs'), 'tiers.hot.config.bucket: is missing: expected text'],
    ['a preset that does not exist', { preset: 'prodution' }, /^preset: expected one of .*; did you mean `production`\?$/],
    ['an unknown codec', { ...hot({}), policies: { a: { hot: true, codec: 'jsn' } } }, /did you mean `json`\?$/],
    ['an unknown span setting', { ...hot({}), telemetry: { spans: 'every' } }, 'telemetry.spans: expected `parented` or `all`, found the text "every"'],
    ['an unknown write mode', { ...hot({}), policies: { a: { hot: { write: 'bac' } } } }, /expected one of `through`, `back`, `around`, `demote`, found the text "bac"; did you mean `back`\?$/],
    ['an unknown compression', { ...hot({}), policies: { a: { hot: true, compression: 'gzipp' } } }, 'policies.a.compression: expected `gzip`, `brotli`, `zstd`, false or a map of algorithm, level and threshold, found the text "gzipp"'],
    ['compression that is only true', { ...hot({}), policies: { a: { hot: true, compression: true } } }, /^policies\.a\.compression: expected `gzip`.*found true$/],
    ['compression without an algorithm', { ...hot({}), policies: { a: { hot: true, compression: { level: 3 } } } }, 'policies.a.compression.algorithm: is missing: expected one of `gzip`, `brotli`, `zstd`'],
    ['an unknown algorithm', { ...hot({}), policies: { a: { hot: true, compression: { algorithm: 'brotly', level: 50 } } } }, /^policies\.a\.compression\.algorithm: .*did you mean `brotli`\?$/],
    ['a level of another algorithm', { ...hot({}), policies: { a: { hot: true, compression: { algorithm: 'gzip', level: 11 } } } }, 'policies.a.compression.level: expected a whole number from 1 to 9 for gzip, found 11'],
    ['a negative threshold', { ...hot({}), policies: { a: { hot: true, compression: { algorithm: 'gzip', threshold: -1 } } } }, /^policies\.a\.compression\.threshold: .*found -1$/],
    ['a media type without a slash', { ...hot({}), policies: { a: { hot: true, content_type: 'jpeg' } } }, 'policies.a.content_type: expected a media type such as image/jpeg, found the text "jpeg"'],
    ['other foreign objects', { ...hot({}), policies: { a: { hot: true, foreign_objects: 'adpt' } } }, /^policies\.a\.foreign_objects: .*did you mean `adopt`\?$/],
    ['a journal of no size', { ...hot({}), write_back: { max_size: 0 } }, /^write_back\.max_size: expected a whole number of bytes.*found 0$/],
    ['a journal of no entries', { ...hot({}), write_back: { max_entries: 0 } }, 'write_back.max_entries: expected a whole number of at least 1, found 0'],
    ['half an upload', { ...hot({}), write_back: { concurrency: 0.5 } }, 'write_back.concurrency: expected a whole number of at least 1, found 0.5'],
    ['a journal in no directory', { ...hot({}), write_back: { directory: '' } }, 'write_back.directory: expected text, found empty text'],
    ['an unknown key of write-back', { ...hot({}), write_back: { maxEntries: 1 } }, 'write_back.maxEntries: unknown key; did you mean `max_entries`?'],
    ['a default ttl given twice', { tiers: { hot: { backend: 'memory', default_ttl: 1, config: { default_ttl: 2 } } } }, /^tiers\.hot\.config\.default_ttl: is given twice/],
  ])('%s', (_, given, problem) => {
    const problems = problemsOf(given as never)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toEqual(typeof problem === 'string' ? problem : expect.stringMatching(problem))
  })

  test.each([[-1], [Number.NaN], ['15'], ['15 minutes'], ['soon'], [true], [{}], ['']])('the time to live %p, wherever one may stand', (ttl) => {
    const problems = problemsOf({
      default_ttl: ttl,
      tiers: { hot: { backend: 'memory', max_ttl: ttl, config: { default_ttl: ttl } } },
      policies: { a: { hot: { ttl }, ttl } },
    } as never)
    expect(problems.map((problem) => problem.split(':')[0])).toEqual(expect.arrayContaining(['default_ttl', 'tiers.hot.max_ttl', 'tiers.hot.config.default_ttl', 'policies.a.hot.ttl', 'policies.a.ttl']))
    expect(problems).toHaveLength(5)
  })

  test.each([[0], [-1], [null], ['0s'], ['1']])('the interval %p', (budget) => {
    expect(problemsOf({ tiers: { hot: { backend: 'memory', budget } } } as never)[0]).toMatch(/^tiers\.hot\.budget: expected a number of seconds.*longer than zero/)
  })
})

describe('coordination', () => {
  test.each<[unknown, string]>([
    ['always', 'coordination'],
    [{ tier: 1 }, 'coordination.tier'],
    [{ max_staleness: 0 }, 'longer than zero'],
    [{ max_stalenes: '1m' }, 'did you mean `max_staleness`'],
  ])('%j', (coordination, message) => {
    expect(problemsOf({ tiers: { hot: { backend: 'memory' } }, coordination } as never).join('\n')).toContain(message)
  })
})

describe('policies', () => {
  const policy = (settings: unknown) => problemsOf({ tiers: { hot: { backend: 'memory' }, warm: { backend: 'memory' } }, policies: { frames: settings } } as never)

  test.each<[string, unknown, string]>([
    ['soft_timeout', { soft_timeout: '1s' }, 'policies.frames.soft_timeout'],
    ['soft_timeout', { soft_timeout: '1s', stale_if_error: 0 }, 'needs a stale value to serve: give `stale_if_error` or `stale_while_revalidate` too, or use `hard_timeout`'],
    ['soft_timeout', { soft_timeout: '3s', hard_timeout: '2s', stale_if_error: 60 }, 'must not be longer than `hard_timeout`'],
    ['jitter', { jitter: 0.6 }, 'policies.frames.jitter'],
    ['early_refresh', { early_refresh: { beta: 0 } }, 'policies.frames.early_refresh.beta'],
    ['error_ttl', { error_ttl: null }, 'policies.frames.error_ttl'],
    ['hard_timeout', { hard_timeout: 0 }, 'longer than zero'],
    ['lock', { lock: 'yes' }, 'policies.frames.lock'],
    ['lock', { lock: { wait: 0 } }, 'longer than zero'],
    ['stale_if_error', { stale_if_error: 'soon' }, 'a number of seconds'],
  ])('staleness that cannot be: %s', (_option, own, message) => {
    expect(policy({ hot: true, ...(own as object) }).join('\n')).toContain(message)
  })

  test('must name a tier', () => {
    expect(policy({ ttl: 60 })).toEqual(['policies.frames: names no tier: name at least one, such as `hot: true`'])
    expect(policy({})).toEqual(['policies.frames: names no tier: name at least one, such as `hot: true`'])
  })

  test('must leave a tier in use', () => {
    expect(policy({ hot: false, warm: false })).toEqual(['policies.frames: uses no tier: every tier is false; set at least one to true, such as `hot: true`'])
  })

  test('must name tiers that exist', () => {
    expect(policy({ hot: true, wram: true })).toEqual(['policies.frames.wram: no tier or setting has that name; did you mean `warm`?'])
    expect(policy({ glacier: true })).toEqual(['policies.frames.glacier: no tier has that name; the tiers are `hot` or `warm`'])
  })

  test('write back only below a tier that keeps a journal', () => {
    const refusal = 'policies.frames.cold.write: `back` needs a tier above it that is written through and keeps a journal: one with `backend: local`'
    const modes = (settings: unknown, above = 'local') =>
      problemsOf({ tiers: { warm: { backend: above, config: above === 'local' ? { base_path: 'x' } : {} }, cold: { backend: 's3', config: { bucket: 'b' } } }, policies: { frames: settings } } as never)
    expect(modes({ cold: { write: 'back' } }, 'memory')).toEqual([refusal])
    expect(modes({ warm: false, cold: { write: 'back' } })).toEqual([refusal])
    expect(modes({ warm: { write: 'around' }, cold: { write: 'back' } })).toEqual([refusal])
    expect(modes({ warm: { write: 'demote' }, cold: true })).toEqual(['policies.frames.warm.write: `demote` needs a tier above it whose evicted entries it takes'])
  })

  test('must be maps', () => {
    expect(policy(null)).toEqual(['policies.frames: expected a map, found null'])
    expect(policy({ hot: 'yes' })).toEqual(['policies.frames.hot: expected true, false or a map of write, ttl and promote, found the text "yes"'])
  })

  test('may not be named so that no key could use them', () => {
    expect(problemsOf({ tiers: { hot: { backend: 'memory' } }, policies: { 'a/b': { hot: true } } })).toEqual([expect.stringMatching(/^policies\["a\/b"\]: a policy's name may not/)])
  })
})

describe('tiers', () => {
  test.each(['tiers', 'ttl', 'codec', 'compression', 'content_type', 'foreignObjects', 'write', 'promote', 'tags', 'metadata', 'policy', 'signal', '', '__proto__'])('may not be named %p', (name) => {
    expect(problemsOf(`tiers: { ${JSON.stringify(name)}: { backend: memory } }`)).toEqual([expect.stringContaining('a tier may not be named like an option')])
  })

  test('may not be named like a number, which would lose their order', () => {
    expect(problemsOf('tiers: { hot: { backend: memory }, 1: { backend: memory } }')).toEqual([expect.stringMatching(/^tiers\["1"\]: a tier may not be named like a number/)])
  })
})

describe('credentials', () => {
  test('are in no message, wherever they stand', () => {
    const secret = 'hunter2'
    const config = {
      url: `http://user:${secret}@cache`,
      password: [secret],
      db: `redis://:${secret}@cache`,
      host: 42,
      [`redis://user:${secret}@cache`]: null,
      eviction_policy: secret,
      cluster: [secret],
      tls: secret,
      port: secret,
      max_memory: secret,
      default_ttl: secret,
    }
    const error = refused(JSON.stringify({ caching: { tiers: { hot: { backend: 'redis', config, budget: secret }, [`redis://${secret}@x`]: 1 } } }))
    expect(error.problems.length).toBeGreaterThan(10)
    expect(`${error.message} ${JSON.stringify(error.problems)} ${error.stack}`).not.toContain(secret)
  })

  test('a number in the place of a password is not shown', () => {
    expect(problemsOf(hot({ password: 12345 }, 'redis'))).toEqual(['tiers.hot.config.password: expected text, found a number'])
  })

  test('what the parser could not read is not quoted', () => {
    for (const text of ['a: "hunter2', 'a: [hunter2', 'a: b: hunter2', '"hunter2" "hunter2"', '{"a": hunter2 "b"}', 'a: *hunter2', '%hunter2\n---\na', 'a: "\\hunter2"', '? a\n hunter2: b\n- c']) {
      expect(refused(text).message).not.toContain('hunter2')
    }
  })
})

describe('a text that cannot be read', () => {
  test.each([
    ['YAML', 'caching:\n  tiers:\n    hot: { backend: memory\n  policies: {}\n', 4],
    ['JSON', '{\n  "caching": {\n    "tiers": ]\n', 3],
    ['a key given twice', 'caching:\n  tiers:\n    hot: { backend: memory }\n    hot: { backend: memory }\n', 4],
    ['a key given twice in JSON', '{"tiers": {\n"hot": {"backend": "memory"},\n"hot": {"backend": "memory"}}}', 3],
    ['a tag', 'tiers:\n  hot: !secret x\n', 2],
  ])('is told with file, line and column: %s', (_, text, line) => {
    const error = refused(text, { env: {}, file: 'cache.yaml' })
    expect(error.problems[0]).toMatchObject({ path: '', line, column: expect.any(Number), message: expect.stringContaining('cannot be read') })
    expect(error.message).toContain(`cache.yaml:${line}:`)
  })

  test('a variable in braces without quotes is explained', () => {
    expect(refused('tiers: { hot: { backend: ${NAME} } }').message).toContain('a variable within { } or [ ] needs quotes: "${NAME}"')
  })

  test('aliases cannot blow up', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]', ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(10)}]`)].join('\n')
    expect(refused(bomb).message).toContain('an alias stands for')
  })

  test('an object that contains itself is refused', () => {
    const given: Record<string, unknown> = { tiers: {} }
    given['tiers'] = { hot: given }
    expect(problemsOf(given as never)).toEqual(['tiers.hot: contains itself'])
  })
})

describe('a document without a configuration', () => {
  test.each([
    ['', /is empty/],
    ['# nothing', /is empty/],
    ['[1]', /found a list/],
    ['just text', /found the text "just text"/],
    ['conf/cache.yaml', /this takes the text of a configuration; `loadCache` takes the path of a file/],
    ['caching: { tiers: { hot: { backend: memory } }, policies: { frames: { tiers: { hot: true } } } }', /policies\.frames\.tiers: unknown key; in a file, tiers stand in the policy itself/],
    ['server: { port: 80 }', /expected the key `caching`/],
    ['cachng: { tiers: {} }', /did you mean `caching`\?/],
    ['tires: {}', /did you mean `tiers`\?/],
    ['caching: 3', /caching: expected a map with tiers, found 3/],
    ['caching: { tiers: { hot: { backend: memory } } }\nserver: {}', /server: unknown key/],
    ['caching: { tiers: { hot: { backend: memory } } }\ntiers: {}', /tiers: unknown key; expected `caching`/],
  ])('%p is told so', (text, message) => {
    expect(refused(text).message).toMatch(message)
  })
})
