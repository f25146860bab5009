import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'

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
  const env = { ...process.env, NODE_OPTIONS: '', PIPELINE_CACHE_DIR: path.join(directory, 'cache') }
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

  test('says what is wrong with a directory without documents', async () => {
    await rm(path.join(directory, 'cats.md'))
    await rm(path.join(directory, 'notes.txt'))
    await expect(pipeline()).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('name another directory with --dir') })
  }, 60_000)
})
