import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'

const HERE = path.resolve(import.meta.dirname, '..')
const { resolve } = createRequire(import.meta.url)
let directory: string

beforeAll(async () => void (directory = await mkdtemp(path.join(tmpdir(), 'recipes-'))))
afterAll(() => rm(directory, { recursive: true }))

/** What a program of its own says; rejects when it fails. */
async function node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: HERE, env: { PATH: process.env['PATH'], NO_COLOR: '1', ...env } })
  return stdout + stderr
}

test('fake timers: the test runs in Vitest', async () => {
  expect(await node([path.join(path.dirname(resolve('vitest/package.json')), 'vitest.mjs'), 'run', 'test/fake-timers.spec.ts'])).toMatch(/Tests +1 passed/)
}, 60_000)

test('bundling: one file runs, and finds what an earlier run has stored', async () => {
  const bundle = path.join(directory, 'app.mjs')
  await node(['src/bundling/build.mjs', 'src/bundling/app.mjs', bundle])
  for (let time = 0; time < 2; time++) expect(await node([bundle], { CACHE_DIR: path.join(directory, 'cache') })).toBe('42\n')
}, 60_000)

test('CommonJS: Node requires the packages', async () => {
  const script = "const { answer, close } = require('./src/commonjs/answers.cjs'); answer('acme', 'all', () => 42).then(console.log).finally(close)"
  expect(await node(['--no-warnings', '-e', script])).toBe('42\n')
})

test('CommonJS: the test runs in Jest', async () => {
  const jest = path.join(path.dirname(resolve('jest/package.json')), 'bin/jest.js')
  expect(await node([jest, '--config', 'src/commonjs/jest.config.json', '--no-cache'])).toMatch(/Tests: +1 passed/)
}, 60_000)
