import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { CacheEntry, NO_VALUE, validateKey } from '@thermocline/backend'
import { FileSystemBackend, type Access } from '@thermocline/fs'
import { FakeClock } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { Shelf, scopeOf } from './support/shelf.js'

const MODES = { private: { directory: 0o700, file: 0o600 }, group: { directory: 0o2770, file: 0o660 } } as const

/** Everything the backend writes. */
async function fill(shelf: Shelf): Promise<void> {
  await shelf.put('k', 'v')
  await shelf.put('promoted', 'v', { onlyIfAbsent: true })
  await shelf.putStream('s', { codec: 'buffer', byteLength: undefined, crc32: undefined, cancel: () => undefined, async *chunks() { yield Buffer.alloc(2e6) } })
  await shelf.backend.openRecordLog().add({ tier: 'cold', tenant: 'acme', key: 'k' })
  const journal = shelf.backend.openJournal({ maxBytes: 1e9, maxEntries: 100 })
  const key = validateKey('pending')
  const slot = journal.reserve({ tier: 'cold', tenant: 'acme', key, expiresAt: Infinity, bytes: 5 })
  const entry = new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: Buffer.from('bytes') }, { createdAt: 1, expiresAt: Infinity })
  await journal.store(slot!, scopeOf('acme'), entry)
  await journal.supersede({ tenant: 'acme', prefix: 'x' })
  afterwards(() => journal.close())
}

function modesIn(directory: string): { readonly [name: string]: string } {
  const names = ['', ...(fs.readdirSync(directory, { recursive: true }) as string[])]
  return Object.fromEntries(names.map((name) => [name, (fs.statSync(path.join(directory, name)).mode & 0o7777).toString(8)]))
}

function expected(root: string, { directory, file }: { readonly directory: number; readonly file: number }): unknown {
  return Object.fromEntries(Object.keys(modesIn(root)).map((name) => [name, (fs.statSync(path.join(root, name)).isDirectory() ? directory : file).toString(8)]))
}

describe('what is kept on the disk', () => {
  test.each((['private', 'group'] as const).flatMap((access) => [0o022, 0o000, 0o077].map((mask) => [access, mask.toString(8), mask] as const)))('with access: %s and a umask of %s has the modes of that option, all of it', async (access, _name, mask) => {
    const before = process.umask(mask)
    afterwards(() => process.umask(before))
    const shelf = new Shelf({ access, maxBytes: 1e9 })
    await fill(shelf)
    await shelf.close()
    expect(modesIn(shelf.root)).toEqual(expected(shelf.root, MODES[access]))
    expect(Object.keys(modesIn(shelf.root)).length).toBeGreaterThan(10)
  })

  test('is its user’s alone by default, and above the cache’s own directory nothing is changed', async () => {
    const basePath = path.join(temporaryDirectory(), 'new', 'base')
    fs.mkdirSync(path.dirname(basePath))
    fs.chmodSync(path.dirname(basePath), 0o755)
    const shelf = new Shelf({ basePath })
    await shelf.put('k', 'v')
    expect(modesIn(shelf.root)).toEqual(expected(shelf.root, MODES.private))
    expect(fs.statSync(path.dirname(basePath)).mode & 0o777).toBe(0o755)
  })
})

describe('directories that were there already', () => {
  test.each([['private', 0o755], ['group', 0o700]] as const)('get the modes of access: %s when they are this user’s', async (access, mode) => {
    const shelf = new Shelf()
    await shelf.put('k', 'v')
    await shelf.close()
    for (const directory of ['', 'tenants', 'tmp', 'tenants/acme']) fs.chmodSync(path.join(shelf.root, directory), mode)
    fs.chmodSync(shelf.basePath, 0o755)
    const next = new Shelf({ basePath: shelf.basePath, access })
    await next.put('other', 'v')
    for (const directory of ['', 'tenants', 'tmp', 'tenants/acme']) {
      expect([directory, (fs.statSync(path.join(shelf.root, directory)).mode & 0o7777).toString(8)]).toEqual([directory, MODES[access].directory.toString(8)])
    }
    expect(fs.statSync(shelf.basePath).mode & 0o777).toBe(0o755)
    expect(next.reports).toEqual([])
  })

  const asRoot = process.getuid?.() === 0 ? test : test.skip
  asRoot('are left, and told of once, when they are somebody else’s', async () => {
    const shelf = new Shelf()
    await shelf.put('k', 'v')
    fs.chmodSync(shelf.root, 0o755)
    fs.chownSync(shelf.root, 65534, 65534)
    const next = new Shelf({ basePath: shelf.basePath })
    for (let i = 0; i < 3; i++) await next.put(`k${i}`, 'v')
    expect(next.reports).toMatchObject([{ code: 'access-denied', message: expect.stringContaining("access: 'private'") as unknown }])
    expect(fs.statSync(shelf.root).mode & 0o777).toBe(0o755)
  })
})

test.each(['Private', '', 0o700, null])('access may not be %s', (access) => {
  expect(() => new FileSystemBackend({ basePath: '/tmp/x', access: access as Access })).toThrow(/access must be 'private' or 'group'/)
})

const ofTwoUsers = process.getuid?.() === 0 ? test : test.skip
ofTwoUsers('with access: group a user keeps alive in the journal what another user of the group has left', async () => {
  const clock = new FakeClock(Date.now())
  const shelf = new Shelf({ access: 'group', clock })
  const journal = shelf.backend.openJournal({ maxBytes: 1e9, maxEntries: 100 })
  const slot = journal.reserve({ tier: 'cold', tenant: 'acme', key: validateKey('k'), expiresAt: Infinity, bytes: 1 })
  await shelf.put('k', 'v', { journal: slot })
  await journal.close() // released, with a copy in it
  fs.chmodSync(shelf.basePath, 0o755)
  process.seteuid?.(65534) // its group stays
  afterwards(() => process.seteuid?.(0))
  const next = new Shelf({ basePath: shelf.basePath, access: 'group', clock }).backend.openJournal({ maxBytes: 1e9, maxEntries: 100 })
  expect(next.load().map(({ key }) => key)).toEqual(['k'])
  const root = path.join(shelf.root, 'journal')
  const beat = (): number => fs.statSync(path.join(root, fs.readdirSync(root)[0] as string)).mtimeMs
  const before = beat()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await clock.advance(10_000)
  expect(beat()).toBeGreaterThan(before)
  expect(fs.readdirSync(path.join(root, fs.readdirSync(root)[0] as string)).filter((name) => name.startsWith('beat'))).toEqual([])
  await next.close()
})
