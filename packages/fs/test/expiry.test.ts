import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { FileSystemBackend } from '@thermocline/fs'
import { FakeClock } from '@thermocline/testkit'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { Shelf } from './support/shelf.js'

function files(shelf: Shelf): string[] {
  const tenants = path.join(shelf.root, 'tenants')
  return (fs.readdirSync(tenants, { recursive: true }) as string[]).filter((name) => name.endsWith('.tc')).sort()
}

async function shelfWithExpired(): Promise<{ shelf: Shelf; clock: FakeClock }> {
  const clock = new FakeClock()
  const shelf = new Shelf({ clock })
  for (let i = 0; i < 20; i++) await shelf.put(`short-${i}`, 'x', { lifeMs: 1000, tenant: `tenant-${i % 4}` })
  await shelf.put('long', 'x')
  await clock.advance(2000)
  return { shelf, clock }
}

describe('a process that does not live until the first sweep', () => {
  test('leaves nothing behind whose life is over when it closes', async () => {
    const { shelf } = await shelfWithExpired()
    expect(files(shelf)).toHaveLength(21)
    await shelf.close()
    expect(files(shelf)).toEqual([path.join('acme', 'long.tc')])
    expect(fs.readdirSync(path.join(shelf.root, 'tenants'))).toEqual(['acme'])
  })

  test('removes what others left when it starts', async () => {
    const { shelf, clock } = await shelfWithExpired()
    const next = new Shelf({ basePath: shelf.basePath, clock })
    await clock.advance(100)
    expect(files(next)).toEqual([path.join('acme', 'long.tc')])
    expect(next.evictions.every(({ reason }) => reason === 'expired')).toBe(true)
  })
})

describe('prune', () => {
  test('removes everything whose life is over, and says what that was', async () => {
    const { shelf } = await shelfWithExpired()
    const bytes = files(shelf).filter((name) => name.includes('short')).reduce((sum, name) => sum + fs.statSync(path.join(shelf.root, 'tenants', name)).size, 0)
    expect(await shelf.backend.prune()).toEqual({ entries: 20, bytes })
    expect(files(shelf)).toEqual([path.join('acme', 'long.tc')])
    expect(await shelf.backend.prune()).toEqual({ entries: 0, bytes: 0 })
    expect(shelf.evictions).toHaveLength(20)
  })

  test('is of use without a manager, also where nothing was ever stored', async () => {
    const shelf = new Shelf()
    await shelf.put('k', 'x', { lifeMs: 1 })
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect((await new FileSystemBackend({ basePath: shelf.basePath }).prune()).entries).toBe(1)
    expect(await new FileSystemBackend({ basePath: temporaryDirectory() }).prune()).toEqual({ entries: 0, bytes: 0 })
  })

  test('ends when it is told to, with the reason', async () => {
    const { shelf } = await shelfWithExpired()
    const reason = new Error('enough')
    await expect(shelf.backend.prune({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const pruning = shelf.backend.prune({ signal: controller.signal })
    controller.abort(reason)
    await expect(pruning).rejects.toBe(reason)
    expect((await shelf.backend.prune()).entries).toBeGreaterThan(0)
  })
})
