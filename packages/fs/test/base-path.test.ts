import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type CacheEvents } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'thermocline-base-'))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

test.each([['basePth', 'basePath'], ['base_path', 'basePath'], ['maxByte', 'maxBytes'], ['maxbufferedbytes', 'maxBufferedBytes'], ['acces', 'access']])('an option %s is refused, and %s is said to be meant', (given, meant) => {
  expect(() => new FileSystemBackend({ basePath: '/tmp/x', [given]: '/tmp/x' })).toThrow(new RegExp(`option ${given}; did you mean ${meant}`))
})

describe('a base path where no directory can be', () => {
  test.each([
    ['a file', async () => {
      await writeFile(path.join(directory, 'file'), '')
      return path.join(directory, 'file')
    }],
    ['below a file', async () => {
      await writeFile(path.join(directory, 'file'), '')
      return path.join(directory, 'file', 'below')
    }],
    ['a place where nothing can be made', async () => '/proc/thermocline'],
  ])('degrades the tier at once and holds up nobody: %s', async (_what, make) => {
    const degraded: CacheEvents['degraded'][] = []
    const lines: string[] = []
    const logger = { info: (line: string) => lines.push(line), warn: (line: string) => lines.push(line) }
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath: await make() }) } }, logger })
    cache.on('degraded', (event) => degraded.push(event))
    const acme = cache.tenant('acme')
    await acme.set('k', 1)
    expect(await acme.getOrCompute('k', () => 2)).toBe(2)
    await acme.delete('k')
    await acme.clear()
    expect(degraded).toHaveLength(1)
    expect(lines[0]).toMatch(/tier warm \(fs\) is degraded/)
    await cache.close()
  })

  test('says what it needs when it is not given', () => {
    expect(() => new FileSystemBackend(undefined as never)).toThrow(/basePath must be the path of a directory/)
  })
})
