import { describe, expect, test } from '@jest/globals'
import { loadCache, parseConfig } from '@thermocline/config'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { problemsOf, refused, rejection, writeFiles } from './support.js'

const HOT = 'tiers: { hot: { backend: memory } }\n'

/** Milliseconds of the processor: other processes do not count. */
function cost(work: () => unknown): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

describe('a text costs a time in proportion to its length', () => {
  const hostile: readonly (readonly [string, (count: number) => string])[] = [
    ['variables without an end', (count) => `${HOT}default_ttl: "${'${'.repeat(count)}"`],
    ['variables that are not set', (count) => `${HOT}default_ttl: "${'${A}'.repeat(count)}"`],
    ['literal variables', (count) => `${HOT}default_ttl: "${'$${A}'.repeat(count)}"`],
    ['keys of one map', (count) => `${HOT}${Array.from({ length: count }, (_, i) => `k${i}: 1`).join('\n')}`],
    ['the same key', (count) => `${HOT}${'a: 1\n'.repeat(count)}`],
    ['unknown tags', (count) => `${HOT}${'a: !x 1\n'.repeat(count)}`],
    ['wrong escapes', (count) => `${HOT}${'a: "\\q"\n'.repeat(count)}`],
    ['anchors and aliases', (count) => `${HOT}x-a:\n${Array.from({ length: count }, (_, i) => `  - &a${i} 1\n  - *a${i}\n`).join('')}`],
    ['wrong settings', (count) => `tiers:\n  hot:\n    backend: memory\n    config:\n${Array.from({ length: count }, (_, i) => `      k${i}: 1\n`).join('')}`],
    ['a key as long as the document', (count) => `${HOT}? ${'k'.repeat(count)}\n: 1\n`],
  ]

  test.each(hostile)('%s', (_, text) => {
    const run = (count: number) => () => {
      try {
        parseConfig(text(count), { env: {} })
      } catch (error) {
        if (!(error instanceof Error) || error.name !== 'ConfigError') throw error
      }
    }
    run(300)()
    const few = cost(run(500))
    const many = cost(run(4000))
    expect(many).toBeLessThan(200 + few * 32) // eight times as long; the square would be 64
  })

  test('100,000 times `${` are one problem', () => {
    const { problems } = refused({ tiers: { hot: { backend: 'local', config: { base_path: '${'.repeat(100_000) } } } })
    expect(problems).toHaveLength(1)
    expect(problems[0]?.message).toMatch(/^expected `\$\{NAME\}`/)
    expect(cost(() => refused({ tiers: { hot: { backend: 'local', config: { base_path: '${'.repeat(100_000) } } } }))).toBeLessThan(1000)
  })

  test('some thousands of policies are a configuration like any other', () => {
    const policies = Array.from({ length: 5000 }, (_, i) => `  p${i}: { hot: true, ttl: ${i + 1} }`).join('\n')
    expect(Object.keys(parseConfig(`${HOT}policies:\n${policies}`).policies)).toHaveLength(5000)
  })
})

describe('what would not end, or not fit, is one problem with its place', () => {
  const nested = (open: string, close: string, depth: number) => `${HOT}x-a: ${open.repeat(depth)}${close.repeat(depth)}`
  test.each([
    ['an alias to the list around it', `${HOT}x-a: &a\n  - 1\n  - *a\n`, 'an alias stands for itself', 4, 5],
    ['an alias to the map around it', `${HOT}x-a: &a { b: { c: *a } }`, 'an alias stands for itself', 2, 19],
    ['a merge of the map around it', `${HOT}x-a: &a { <<: *a }`, 'an alias stands for itself', 2, 15],
    ['an alias to nothing', `${HOT}x-a: *none`, 'an alias stands for nothing', 2, 6],
    ['an alias before its anchor', `${HOT}x-a: [*b, &b 1]`, 'an alias stands for nothing', 2, 7],
    ['a merge of text', `${HOT}x-a: { <<: text }`, 'a merge key (`<<`) takes a map', 2, 8],
    ['a map as a key', `${HOT}x-a: { { b: 1 }: 2 }`, 'a key has to be text', 2, 8],
    ['lists within lists', nested('[', ']', 100_000), 'is nested too deeply', 2, expect.any(Number)],
    ['lists that never end', nested('[', '', 100_000), 'is nested too deeply', 2, expect.any(Number)],
    ['maps within maps', nested('{ a: ', '}', 30_000), 'is nested too deeply', 2, expect.any(Number)],
    ['dashes after dashes', `${HOT}x-a:\n  ${'- '.repeat(50_000)}1`, 'is nested too deeply', 3, expect.any(Number)],
    ['keys of keys', `${'? '.repeat(50_000)}1`, 'is nested too deeply', 1, expect.any(Number)],
    ['aliases within aliases within aliases', `${HOT}x-a:\n  - &a0 1\n${Array.from({ length: 300 }, (_, i) => `  - &a${i + 1} [*a${i}]\n`).join('')}`, 'is nested too deeply', expect.any(Number), 10],
    ['aliases that multiply', `${HOT}x-a:\n  - &a0 [${'x, '.repeat(10)}]\n${Array.from({ length: 30 }, (_, i) => `  - &a${i + 1} [${`*a${i}, `.repeat(10)}]\n`).join('')}`, 'an alias stands for too much', expect.any(Number), expect.any(Number)],
    ['merges that multiply', `${HOT}x-a:\n  - &a0 { ${Array.from({ length: 50 }, (_, i) => `k${i}: 1`).join(', ')} }\n${Array.from({ length: 30 }, (_, i) => `  - &a${i + 1} { l: [${`*a${i}, `.repeat(10)}], <<: *a${i} }\n`).join('')}`, 'an alias stands for too much', expect.any(Number), expect.any(Number)],
    ['more than a few mebibytes', `${HOT}# ${'x'.repeat(3 * 1024 ** 2)}`, 'is too large: a configuration has at most 2 MiB', 1, 1],
    ['a very long list', `${HOT}x-a: [${'1,'.repeat(300_000)}]`, 'has too many values', 2, expect.any(Number)],
  ])('%s', (_, text, message, line, column) => {
    const { problems } = refused(text, { env: {}, file: 'cache.yaml' })
    expect(problems).toEqual([{ path: '', message: expect.stringContaining(message), line, column }])
  })

  test('aliases that are used often, and deep enough documents, are none of these', () => {
    const text = `x-l: &l { budget: 1s }\n${HOT.replace('memory', 'memory, <<: *l')}x-a: [${'*l, '.repeat(3000)}]\nx-b: ${'['.repeat(50)}${']'.repeat(50)}\n`
    expect(parseConfig(text).tiers['hot']?.budget).toBe('1s')
  })

  test('the same of an object', () => {
    const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)])
    let bomb: unknown = 1
    for (let i = 0; i < 40; i++) bomb = [bomb, bomb]
    const given = (inside: unknown) => ({ 'x-a': inside, tiers: { hot: { backend: 'memory' } } }) as never
    expect(problemsOf(given(deep(5000)))).toEqual([expect.stringContaining('is nested too deeply')])
    expect(problemsOf(given(bomb))).toEqual([expect.stringContaining('has too many values')])
    expect(parseConfig(given(deep(50))).tiers).toHaveProperty('hot')
  })

  test('a file is not read further than a configuration goes', async () => {
    const directory = temporaryDirectory()
    writeFiles(directory, { 'big.yaml': 'x'.repeat(5 * 1024 ** 2) })
    for (const file of [`${directory}/big.yaml`, '/dev/zero']) expect((await rejection(loadCache(file))).problems[0]?.message).toContain('is too large')
  })
})
