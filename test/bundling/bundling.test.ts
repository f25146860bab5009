import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { temporaryDirectory } from '../support/afterwards.js'
import { describeRedis } from '../support/redis/index.js'
import { startRedis, type RedisServer } from '../support/redis/index.js'

const run = promisify(execFile)
const HERE = import.meta.dirname
const PACKAGES = path.resolve(HERE, '../../packages')

const CONFIGURATION = (prefix: string, more: string) => `caching:
  tiers:
    hot:    { backend: memory }
    warm:   { backend: local, config: { base_path: "\${DISK}" }, budget: 30s }
    shared: { backend: redis, config: { url: "\${REDIS}", key_prefix: "${prefix}" }, budget: 30s }
${more}  policies:
    all:    { hot: true }
    disk:   { hot: false, warm: true, shared: false }
    shared: { hot: false, warm: false, shared: true }
`

/** What a program says that computed so many of its values: those that it did not find. */
const answer = (computed: number) => ({
  computed,
  found: {
    all: { status: 'fresh', tier: 'hot', value: { at: 'all', computed: 1 } },
    disk: { status: 'fresh', tier: 'warm', value: { at: 'disk', computed: 2 } },
    shared: { status: 'fresh', tier: 'shared', value: { at: 'shared', computed: 3 } },
  },
  streamed: 100_000,
  listed: ['disk/kkkkkk', 'disk/stream'],
  failure: { code: 'not-encodable', isCacheError: true },
})

describeRedis('a program in one file', () => {
  let server: RedisServer

  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  async function bundled(bundler: string, format: 'cjs' | 'esm', entry: string): Promise<string> {
    const directory = temporaryDirectory()
    await run(process.execPath, [path.join(HERE, 'bundle.mjs'), bundler, format, path.join(HERE, 'fixtures', entry), directory])
    return path.join(directory, format === 'cjs' ? 'app.cjs' : 'app.mjs')
  }

  async function answerOf(program: string, configuration: string): Promise<unknown> {
    const env = { PATH: process.env['PATH'], DISK: path.join(path.dirname(configuration), 'disk'), REDIS: server.url }
    const { stdout, stderr } = await run(process.execPath, [program, configuration], { cwd: path.dirname(program), env })
    expect(stderr).toBe('')
    return JSON.parse(stdout)
  }

  test.each<[string, 'cjs' | 'esm']>([
    ['esbuild', 'cjs'],
    ['esbuild', 'esm'],
    ['tsup', 'cjs'],
    ['tsup', 'esm'],
    ['webpack', 'cjs'],
  ])(
    'by %s as %s, with the adapters it imports, needs no package beside it',
    async (bundler, format) => {
      const program = await bundled(bundler, format, 'app.mjs')
      const configuration = path.join(temporaryDirectory(), 'cache.yaml')
      writeFileSync(configuration, CONFIGURATION(`${bundler}-${format}:`, '    mine:   { backend: mine, config: { max: "${MAX:-10}" } }\n'))
      expect(await answerOf(program, configuration)).toEqual(answer(3))
    },
    80_000,
  )

  test.each<['cjs' | 'esm']>([['cjs'], ['esm']])(
    'as %s, without adapters, finds their packages beside its configuration, which have a core of their own',
    async (format) => {
      const program = await bundled('esbuild', format, 'app-without-adapters.mjs')
      const directory = temporaryDirectory()
      mkdirSync(path.join(directory, 'node_modules/@thermocline'), { recursive: true })
      for (const name of ['memory', 'fs', 'redis']) {
        expect(existsSync(path.join(PACKAGES, name, 'dist/bundle.js'))).toBe(true)
        symlinkSync(path.join(PACKAGES, name), path.join(directory, 'node_modules/@thermocline', name), 'junction')
      }
      const configuration = path.join(directory, 'cache.yaml')
      writeFileSync(configuration, CONFIGURATION(`two-${format}:`, ''))
      expect(await answerOf(program, configuration)).toEqual(answer(3))
      expect(await answerOf(program, configuration)).toEqual(answer(0)) // from the disk and from Redis
    },
    80_000,
  )
})
