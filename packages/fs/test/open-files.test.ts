import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { startCommand } from './support/processes.js'

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'burst-child.mjs')

/** What a process says that may have so many files open. */
async function burst(openFiles: number, plan: Readonly<Record<string, unknown>>): Promise<string> {
  const child = startCommand('bash', ['-c', `ulimit -n ${openFiles} && exec "$@"`, 'bash', process.execPath, SCRIPT, JSON.stringify({ basePath: temporaryDirectory(), ...plan })])
  expect([await child.ended, child.output()]).toEqual([0, child.output()])
  return child.output()
}

describe('a process that may have 256 files open', () => {
  test.each([[undefined], [100e6]])('stores, reads and deletes 500 entries at once, with maxBytes: %s', async (maxBytes) => {
    expect(await burst(256, { work: 'sets', count: 500, maxBytes, budget: '10s' })).toBe('stored 500\ndeleted 500\n')
  })

  test('begins 300 streams before it reads any of them, and writes each into another', async () => {
    expect(await burst(256, { work: 'streams', count: 300, budget: '30s' })).toBe('begun 300\ncopied 300\n')
  }, 60_000)

  test('waits while somebody else has all of them, and nothing is degraded', async () => {
    expect(await burst(256, { work: 'starved', count: 100, budget: '10s' })).toBe('read there\nstored 100\n')
  })
})

describe('very much at once', () => {
  test('20,000 sets on a good disk are all stored', async () => {
    // the budget is for a machine on which 20,000 calls alone take more than a second
    expect(await burst(4096, { work: 'sets', count: 20_000, budget: '30s' })).toBe('stored 20000\ndeleted 20000\n')
  }, 180_000)

  test('200 computes on a disk that takes 20 ms for each step are all stored', async () => {
    expect(await burst(4096, { work: 'computes', count: 200, delayMs: 20 })).toBe('stored 200\n')
  }, 60_000)
})
