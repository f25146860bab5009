import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const run = promisify(execFile)

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'thermocline-pipeline-'))
  await writeFile(path.join(directory, 'cats.md'), '# Cats\n\nA cat sleeps most of the day and hunts at night.\n\n# Dogs\n\nA dog guards the house and barks at strangers.\n')
  await writeFile(path.join(directory, 'notes.txt'), 'The weather in the mountains changes quickly in spring.')
})

afterEach(() => rm(directory, { recursive: true, force: true }))

async function pipeline(...args: string[]): Promise<string> {
  return withRedis(undefined, ...args)
}

async function withRedis(url: string | undefined, ...args: string[]): Promise<string> {
  const env = { ...process.env, NODE_OPTIONS: '', PIPELINE_CACHE_DIR: path.join(directory, 'cache'), REDIS_URL: url }
  return (await run(process.execPath, [main, '--dir', directory, ...args], { env })).stdout
}

/** The numbers of a policy's line for a tier: hits, misses, computed, avoided. */
function line(output: string, policy: string): number[] {
  const found = output.split('\n').find((text) => text.startsWith(policy)) ?? ''
  return found.split(/\s{2,}/).slice(2, 6).map(Number)
}

describe('the document pipeline', () => {
  test('computes everything once per tenant, and nothing in a second process', async () => {
    const first = await pipeline('--query', 'which animal barks')
    expect(first).toContain('2 documents')
    expect(first).toMatch(/barks\n {4}0\.\d\d {2}cats\.md > Dogs/)
    const [hits, , computed] = line(first, 'embeddings')
    expect([hits, computed]).toEqual([0, 8]) // three chunks and one question for each of two tenants
    expect(line(first, 'search_results')).toEqual([6, 2, 2, 6])
    const second = await pipeline('--query', 'which animal barks')
    expect(line(second, 'embeddings').slice(0, 3)).toEqual([8, 0, 0])
    expect(second).toContain('came from the warm tier, written by an earlier process')
  }, 60_000)

  test('four processes at once compute each step once', async () => {
    const output = await pipeline('--query', 'which animal barks', '--processes', '4')
    expect(line(output, 'chunks')[2]).toBe(4) // two documents for each of two tenants
    expect(line(output, 'embeddings')[2]).toBe(8)
    expect(output).toContain('All 4 processes together made 16 computes') // and two indexes, and two answers
  }, 60_000)

  test.each(['0', '1.5', 'many', '65'])('refuses --processes %s', async (count) => {
    await expect(pipeline('--processes', count)).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(`--processes takes a whole number from 1 to 64, not ${count}`) })
  }, 60_000)

  test('says what is wrong with a directory without documents', async () => {
    await rm(path.join(directory, 'cats.md'))
    await rm(path.join(directory, 'notes.txt'))
    await expect(pipeline()).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('name another directory with --dir') })
  }, 60_000)
})

describeRedis('with REDIS_URL', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis({ password: 'secret' })))
  afterAll(() => server.stop())

  test('a Redis stands between memory and disk, and a machine with an empty disk finds everything there', async () => {
    const first = await withRedis(server.url, '--query', 'which animal barks')
    const rows = first.split('\n').flatMap((text) => /^[a-z_]* +(hot|redis|warm) +\d/.exec(text)?.[1] ?? [])
    expect(rows).toEqual(['warm', 'redis', 'warm', 'hot', 'redis', 'warm', 'hot', 'redis']) // of chunks, embeddings, indexes, search_results
    expect(await server.info('keyspace', 'db0')).toMatch(/^keys=13,/) // 8 embeddings, 2 indexes, 2 answers, and the log of what processes agree about
    await rm(path.join(directory, 'cache'), { recursive: true })
    const second = await withRedis(server.url, '--query', 'which animal barks')
    expect(second).toContain('The embeddings came from the redis tier, written by an earlier process.')
    const third = await pipeline('--query', 'which animal barks')
    expect(third).not.toContain('redis')
  }, 60_000)

  test.each([
    ['refuses', () => 'redis://127.0.0.1:1'],
    ['has another password', () => server.url.replace('secret', 'wrong')],
  ])('that %s: it runs all the same, and says so in one line', async (_, url) => {
    const output = await withRedis(url(), '--query', 'which animal barks')
    expect(line(output, 'search_results').length).toBeGreaterThan(0)
    expect(output.split('\n').filter((text) => text.includes('does not answer'))).toEqual([expect.stringContaining('The tier redis does not answer and is left out: ')])
    expect(output).not.toContain('wrong')
    expect(await pipeline('--query', 'which animal barks')).toContain('came from the warm tier')
  }, 60_000)

  test('that hangs: the same', async () => {
    const hanging = await startRedis()
    hanging.pause()
    try {
      const output = await withRedis(hanging.url, '--query', 'which animal barks')
      expect(output.split('\n').filter((text) => text.includes('The tier redis does not answer'))).toHaveLength(1)
      expect(line(output, 'search_results').length).toBeGreaterThan(0)
    } finally {
      await hanging.stop()
    }
  }, 60_000)

  test('that is no address: it says what is expected', async () => {
    await expect(withRedis('localhost:6379')).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('expected an address such as redis://localhost:6379') })
  }, 60_000)
})
