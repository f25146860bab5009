import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { CacheEntry, isStreamed, NO_VALUE, StreamedEntry, validateKey, type CacheError, type JournalSlot } from '@thermocline/backend'
import { bytesOf, cut, FakeClock, HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { Desk } from './support/desk.js'
import { scopeOf, Shelf } from './support/shelf.js'
import { smallDisk, withDisk } from './support/small-disk.js'

const large = patterned(1_500_003)
const HOUR_MS = 3_600_000

function codesOf(reports: readonly CacheError[]): string[] {
  return reports.map(({ code }) => code)
}

describe('a copy in the journal', () => {
  test.each([['without', false], ['with', true]])('is there once a put has resolved, %s fsync, and is a link to the same file', async (_how, fsync) => {
    const desk = new Desk({ fsync })
    const slot = await desk.put('k', 'value')
    expect(await desk.read(slot)).toBe('value')
    expect(fs.statSync(desk.file).ino).toBe(fs.statSync(desk.shelf.fileOf('k')).ino)
    expect(desk.journal.size).toEqual({ entries: 1, bytes: 5 })
    await desk.journal.remove(slot)
    expect(desk.files).toEqual([])
    expect(desk.journal.size).toEqual({ entries: 0, bytes: 0 })
    expect((await desk.shelf.get('k'))?.toString()).toBe('value')
  })

  test('outlives eviction, replacement, deletion and clearing of the entry, and counts towards no limit', async () => {
    const desk = new Desk({ maxBytes: 1e6 })
    const slots = [await desk.put('evicted', patterned(300_000)), await desk.put('replaced', 'old'), await desk.put('deleted', 'x'), await desk.put('cleared', 'y')]
    await desk.shelf.put('replaced', 'new')
    await desk.shelf.delete('deleted')
    for (let i = 0; i < 20; i++) await desk.shelf.put(`k${i}`, patterned(100_000))
    await desk.shelf.clear()
    expect(await desk.shelf.keys()).toEqual([])
    expect((await desk.read(slots[0] as JournalSlot))?.length).toBeGreaterThan(0)
    expect(await Promise.all(slots.slice(1).map((slot) => desk.read(slot)))).toEqual(['old', 'x', 'y'])
    const other = new Shelf({ basePath: desk.shelf.basePath, maxBytes: 1e6 })
    await other.put('x', 'x') // scans
    expect(other.backend.stats().bytes).toBeLessThan(200_000) // some that was pending when it was told
    expect(await other.keys()).toEqual(['x'])
  })

  test('is left alone by sweeps', async () => {
    const clock = new FakeClock(Date.now())
    const desk = new Desk({ clock, cleanupInterval: '1m', maxBytes: 1e6 })
    const slot = desk.reserve('k')
    await desk.shelf.put('k', 'value', { journal: slot, lifeMs: 1000 })
    await clock.advance(2 * HOUR_MS)
    expect(await desk.shelf.holds('k')).toBe(false)
    expect(await desk.read(slot)).toBe('value')
  })

  test('is read with the end of its life in the other tier, as payload or as stream', async () => {
    const desk = new Desk()
    const createdAt = Date.now()
    const slot = desk.reserve('k', large.length, createdAt + 5 * HOUR_MS)
    const details = { tags: ['red'], metadata: { a: 'b' }, staleMs: 1000 }
    const entry = new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: large }, { createdAt, expiresAt: createdAt + 3 * HOUR_MS, computeMicros: 7, details })
    await desk.shelf.backend.put(scopeOf('acme'), validateKey('k'), entry, { onlyIfAbsent: false, keepUntil: createdAt + 10, journal: slot })
    const read = await desk.journal.read(slot, 'payload')
    const stream = await desk.journal.read(slot, 'stream')
    for (const found of [read, stream]) {
      expect([found?.createdAt, found?.expiresAt, found?.keepUntil, found?.computeMicros]).toEqual([createdAt, createdAt + 5 * HOUR_MS, createdAt + 5 * HOUR_MS, 7])
      expect(found?.details).toEqual(details)
    }
    expect(large.equals(read?.encoded?.bytes as Uint8Array)).toBe(true)
    expect(isStreamed(stream!) && (await bytesOf(stream.payload)).equals(large)).toBe(true)
  })

  test('is made of a streamed put too, of unknown length', async () => {
    const desk = new Desk()
    const slot = desk.reserve('k')
    expect(await desk.shelf.putStream('k', streamOf(cut(large, 70_001)), { journal: slot })).toBe(true)
    expect(large.equals((await desk.journal.read(slot, 'payload'))?.encoded?.bytes as Uint8Array)).toBe(true)
    expect([slot.bytes, desk.journal.size.bytes]).toEqual([large.length, large.length]) // 100 were reserved
    await desk.journal.remove(slot)
    expect(desk.journal.size.bytes).toBe(0)
  })

  test('does not stay where the put fails or says false', async () => {
    const desk = new Desk({ maxBytes: 500_000 })
    await desk.shelf.put('there', 'x')
    expect(await desk.shelf.put('there', 'y', { journal: desk.reserve('there'), onlyIfAbsent: true })).toBe(false)
    expect(await desk.shelf.put('large', large, { journal: desk.reserve('large') })).toBe(false)
    expect(await desk.shelf.putStream('long', streamOf([large]), { journal: desk.reserve('long') })).toBe(false)
    const source = new HandFedStream()
    const put = desk.shelf.putStream('broken', source, { journal: desk.reserve('broken') })
    await source.give(patterned(10_000))
    source.fail(new Error('the source broke'))
    await expect(put).rejects.toMatchObject({ code: 'failed' })
    expect(desk.files).toEqual([])
    expect(desk.journal.size.entries).toBe(4) // their slots are still reserved
  })

  test('is made by store where it was not put, and over an earlier one', async () => {
    const desk = new Desk()
    const slot = desk.reserve('k')
    await desk.store(slot, 'stored')
    expect(await desk.read(slot)).toBe('stored')
    await desk.store(slot, 'again')
    expect(await desk.read(slot)).toBe('again')
    await desk.shelf.put('k', 'put', { journal: slot })
    expect(await desk.read(slot)).toBe('put')
    expect(desk.files).toHaveLength(1)
    const streamed = desk.reserve('streamed')
    await desk.journal.store(streamed, scopeOf('acme'), new StreamedEntry(streamOf([large]), { createdAt: 1, expiresAt: Date.now() + HOUR_MS }))
    expect((await desk.journal.read(streamed, 'payload'))?.encoded?.bytes.length).toBe(large.length)
  })

  test('for a second tier is made from the first, where the bytes were a stream and are gone', async () => {
    const desk = new Desk()
    const [first, second] = [desk.reserve('k'), desk.reserve('k')]
    await desk.shelf.putStream('k', streamOf([large]), { journal: first })
    await desk.journal.store(second, scopeOf('acme'), CacheEntry.head({ createdAt: Date.now(), expiresAt: Date.now() + HOUR_MS }))
    await desk.journal.remove(first)
    expect((await desk.journal.read(second, 'payload'))?.encoded?.bytes.length).toBe(large.length)
  })

  test('that is given up while it is made does not stay', async () => {
    const desk = new Desk()
    const source = new HandFedStream()
    const slot = desk.reserve('k')
    const put = desk.shelf.putStream('k', source, { journal: slot })
    await source.give(patterned(10_000))
    const removing = desk.journal.remove(slot)
    source.end()
    expect(await put).toBe(true)
    await removing
    expect(desk.files).toEqual([])
    await desk.store(slot, 'too late')
    expect(desk.files).toEqual([])
  })

  test('that cannot be removed keeps its place, and goes later', async () => {
    const desk = new Desk()
    const slot = await desk.put('k', 'value')
    const unlink = jest.spyOn(fs.promises, 'unlink').mockRejectedValue(Object.assign(new Error('EROFS'), { code: 'EROFS' }))
    try {
      await expect(desk.journal.remove(slot)).rejects.toMatchObject({ code: 'read-only', operation: 'write-back' })
    } finally {
      unlink.mockRestore()
    }
    expect(desk.journal.size).toEqual({ entries: 1, bytes: 5 })
    await desk.journal.remove(slot)
    await desk.journal.remove(slot)
    expect([desk.files, desk.journal.size]).toEqual([[], { entries: 0, bytes: 0 }])
  })

  test('needs a slot that a journal gave out', async () => {
    const desk = new Desk()
    const slot = { ...desk.reserve('k') }
    await expect(desk.shelf.put('k', 'x', { journal: slot })).rejects.toThrow(TypeError)
    await expect(desk.journal.read(slot, 'payload')).rejects.toThrow(TypeError)
    expect(() => desk.journal.reserve({ tier: 'x'.repeat(200), tenant: 'acme', key: validateKey('k'), expiresAt: 1, bytes: 1 })).toThrow(/tier .* name/)
  })
})

describe('the journal', () => {
  test('is full at its limits, and reserved places count', async () => {
    const desk = new Desk({ maxPending: 3, maxPendingBytes: 1000 })
    const slots = [desk.reserve('a', 400), desk.reserve('b', 400)]
    expect(desk.journal.reserve({ tier: 'cold', tenant: 'acme', key: validateKey('c'), expiresAt: 1, bytes: 300 })).toBeUndefined()
    expect(desk.reserve('c', 200)).toBeDefined()
    expect(desk.reserve('d', 0)).toBeUndefined()
    expect(desk.journal.size).toEqual({ entries: 3, bytes: 1000 })
    await desk.journal.remove(slots[0] as JournalSlot)
    expect(desk.reserve('d', 400)).toBeDefined()
    expect(fs.existsSync(desk.directory)).toBe(false)
  })

  test('counts what a copy has grown to, within its limit, and no less when it is told of less', async () => {
    const desk = new Desk({ maxPending: 3, maxPendingBytes: 1000 })
    const slot = desk.reserve('a', 100)
    desk.reserve('b', 400)
    const grown = (bytes: number): [boolean, number] => [desk.journal.grow(slot, bytes), desk.journal.size.bytes]
    expect(grown(100)).toEqual([true, 500])
    expect(grown(101)).toEqual([true, 501])
    expect(grown(600)).toEqual([true, 1000])
    expect(grown(601)).toEqual([false, 1000])
    expect(grown(50)).toEqual([true, 1000])
    await desk.journal.remove(slot)
    expect(desk.journal.size).toEqual({ entries: 1, bytes: 400 })
  })

  test('leaves no timer when it is closed', async () => {
    const clock = new FakeClock()
    const desk = new Desk({ clock })
    const before = clock.pending
    await desk.put('k', 'x')
    expect(clock.pending).toBeGreaterThan(before) // it tells others that it lives
    await desk.journal.close()
    expect(clock.pending).toBe(before)
  })

  test.each([
    [{ maxBytes: 0, maxEntries: 1 }, /maxBytes must be .* not 0/],
    [{ maxBytes: 1, maxEntries: Number.NaN }, /maxEntries must be .* not NaN/],
    [{ maxBytes: 1, maxEntries: 1, directory: '' }, /directory must be .* not ""/],
  ])('refuses %j', (options, message) => {
    expect(() => new Shelf().backend.openJournal(options)).toThrow(message)
  })

  test('brings back what was pending when it was closed, oldest first, with all that is to be known of it', async () => {
    const desk = new Desk()
    const never = desk.journal.reserve({ tier: 'Cölder', tenant: 'acme', key: validateKey('first'), expiresAt: Number.POSITIVE_INFINITY, bytes: 1 }) as JournalSlot
    await desk.shelf.put('first', '1', { journal: never })
    for (const key of ['second', 'third']) await desk.put(key, key)
    const gone = await desk.put('gone', 'x')
    await desk.journal.remove(gone)
    desk.reserve('never made')
    const { desk: next, slots } = await desk.next()
    expect(slots.map(({ key, tier, tenant, bytes }) => [key, tier, tenant, bytes])).toEqual([['first', 'Cölder', 'acme', 1], ['second', 'cold', 'acme', 6], ['third', 'cold', 'acme', 5]])
    expect(slots[0]?.expiresAt).toBe(Number.POSITIVE_INFINITY)
    expect(await next.read(slots[1] as JournalSlot)).toBe('second')
    expect(next.journal.size).toEqual({ entries: 3, bytes: 12 })
    expect(next.reserve('new').sequence).toBeGreaterThan(Math.max(...slots.map(({ sequence }) => sequence)))
    expect(next.journal.load()).toEqual([])
    expect(next.shelf.reports).toEqual([])
    expect(fs.readdirSync(next.directory)).toHaveLength(1)
  })

  test('sequences grow also when the clock has gone back', async () => {
    const clock = new FakeClock(Date.UTC(2030, 0, 1))
    const desk = new Desk({ clock })
    await desk.put('a', 'a')
    clock.jump(-1e9)
    const { desk: next, slots } = await desk.next()
    expect(next.reserve('b').sequence).toBeGreaterThan(slots[0]?.sequence ?? Infinity)
  })

  test('leaves nothing behind when nothing is pending', async () => {
    const desk = new Desk()
    await desk.journal.remove(await desk.put('k', 'x'))
    await desk.journal.close()
    await desk.journal.close()
    expect(fs.readdirSync(desk.directory)).toEqual([])
    expect(desk.journal.reserve({ tier: 'cold', tenant: 'acme', key: validateKey('k'), expiresAt: 1, bytes: 1 })).toBeUndefined()
  })

  test('takes copies instead of links where its directory is on another disk', async () => {
    const directory = path.join(fs.existsSync('/dev/shm') ? fs.mkdtempSync('/dev/shm/thermocline-') : temporaryDirectory(), 'journal')
    try {
      const desk = new Desk({ directory, fsync: true })
      const slot = await desk.put('k', large)
      expect((await desk.journal.read(slot, 'payload'))?.encoded?.bytes.length).toBe(large.length)
      expect(desk.files).toHaveLength(1)
      const { slots } = await desk.next()
      expect(slots).toHaveLength(1)
    } finally {
      fs.rmSync(path.dirname(directory), { recursive: true, force: true })
    }
  })

  test('makes its directory again when somebody removes it', async () => {
    const desk = new Desk()
    await desk.put('a', 'a')
    fs.rmSync(desk.directory, { recursive: true })
    const put = await desk.put('b', 'b')
    fs.rmSync(desk.directory, { recursive: true })
    expect(await desk.read(put)).toBeUndefined()
    const stored = desk.reserve('c')
    await desk.store(stored, 'c')
    expect(await desk.read(stored)).toBe('c')
    await desk.journal.remove(put)
  })
})

describe('a copy that cannot be read', () => {
  test('is reported and set aside when it is read', async () => {
    const desk = new Desk()
    for (const want of ['payload', 'stream'] as const) {
      const slot = await desk.put('k', large)
      const file = desk.file
      const bytes = fs.readFileSync(file)
      bytes[1_000_000] = (bytes[1_000_000] ?? 0) ^ 1
      fs.rmSync(file)
      fs.writeFileSync(file, bytes)
      const reading = desk.journal.read(slot, want).then(async (entry) => (entry !== undefined && isStreamed(entry) ? await bytesOf(entry.payload) : entry))
      if (want === 'payload') expect(await reading).toBeUndefined()
      else await expect(reading).rejects.toMatchObject({ code: 'corrupt' })
      expect(desk.shelf.reports.at(-1)).toMatchObject({ code: 'corrupt', operation: 'write-back' })
      expect(await desk.journal.read(slot, want)).toBeUndefined()
      await desk.journal.remove(slot)
    }
    expect(fs.readdirSync(path.join(desk.directory, 'damaged'))).toHaveLength(2)
  })

  test('is found at the start: what breaks off is removed, what is damaged set aside, what is not ours left', async () => {
    const desk = new Desk()
    for (const key of ['whole', 'cut', 'empty', 'garbage', 'header']) await desk.put(key, large)
    const files = [...desk.files].sort().map((name) => path.join(desk.directory, name))
    const [, cutOff, empty, garbage, header] = files as [string, string, string, string, string]
    const replace = (file: string, bytes: Uint8Array): void => {
      fs.rmSync(file)
      fs.writeFileSync(file, bytes)
    }
    replace(cutOff, fs.readFileSync(cutOff).subarray(0, 100_000))
    replace(empty, Buffer.alloc(0))
    replace(garbage, Buffer.from('not a frame at all'))
    const bytes = fs.readFileSync(header)
    bytes[30] = (bytes[30] ?? 0) ^ 1
    replace(header, bytes)
    fs.writeFileSync(path.join(path.dirname(cutOff), 'notes.txt'), 'mine')
    fs.writeFileSync(`${cutOff}.new`, 'x')
    fs.mkdirSync(path.join(desk.directory, 'some directory'))
    const { desk: next, slots } = await desk.next()
    expect(slots.map(({ key }) => key)).toEqual(['whole'])
    expect(codesOf(next.shelf.reports)).toEqual(['corrupt', 'corrupt', 'corrupt', 'corrupt'])
    expect(next.shelf.reports.map(({ message }) => /breaks off/.test(message))).toEqual([true, true, false, false])
    expect(fs.readdirSync(path.join(next.directory, 'damaged'))).toHaveLength(2)
    expect(next.files).toHaveLength(1)
    expect((fs.readdirSync(next.directory, { recursive: true }) as string[]).filter((name) => name.endsWith('notes.txt') || name === 'some directory')).toHaveLength(2)
  })

  test.each([
    ['a directory', (file: string) => fs.mkdirSync(file), /it is no file/],
    ['a link to itself', (file: string) => fs.symlinkSync(file, file), /ELOOP/],
  ] as const)('in whose place %s lies is set aside, and the report says why', async (_, put, reason) => {
    const desk = new Desk()
    await desk.put('k', 'x')
    const { file } = desk
    fs.rmSync(file)
    put(file)
    const { desk: next, slots } = await desk.next()
    expect(slots).toEqual([])
    expect(next.shelf.reports.map(({ code, message }) => [code, reason.test(message)])).toEqual([['corrupt', true]])
    expect(fs.readdirSync(path.join(next.directory, 'damaged'))).toHaveLength(1)
  })

  test('takes up no more than a hundred places', async () => {
    const desk = new Desk()
    for (let i = 0; i < 110; i++) await desk.put(`k${i}`, 'x')
    for (const name of desk.files) {
      fs.rmSync(path.join(desk.directory, name))
      fs.writeFileSync(path.join(desk.directory, name), `garbage ${'x'.repeat(100)}`)
    }
    const { desk: next, slots } = await desk.next()
    expect(slots).toEqual([])
    expect(next.shelf.reports).toHaveLength(110)
    expect(fs.readdirSync(path.join(next.directory, 'damaged'))).toHaveLength(100)
  })
})

describe('a disk that is full', () => {
  withDisk('under the journal keeps no entry from being stored: there is no copy, and the slot says why', async () => {
    const directory = path.join(smallDisk(2), 'journal')
    const desk = new Desk({ directory })
    await desk.shelf.put('k', 'old')
    const slot = desk.reserve('k')
    expect(await desk.shelf.put('k', patterned(4e6), { journal: slot })).toBe(true)
    expect(slot.failure).toMatchObject({ code: 'storage-full', operation: 'write-back' })
    await expect(desk.store(desk.reserve('k'), patterned(4e6))).rejects.toMatchObject({ code: 'storage-full' })
    expect(desk.files).toEqual([])
    expect((fs.readdirSync(directory, { recursive: true }) as string[]).filter((name) => name.includes('.tc'))).toEqual([])
    expect(desk.shelf.temporaryFiles).toEqual([])
    expect(await desk.shelf.get('k')).toHaveLength(4e6)
    expect(await desk.read(await desk.put('small', 'fits'))).toBe('fits')
  })

  withDisk('under both does so too', async () => {
    const desk = new Desk({ basePath: smallDisk(3) })
    const slots: JournalSlot[] = []
    let failure: unknown
    for (let i = 0; i < 10 && failure === undefined; i++) {
      const slot = desk.reserve(`k${i}`)
      await desk.shelf.put(`k${i}`, patterned(600_000), { journal: slot }).then(() => slots.push(slot), (error: unknown) => (failure = error))
    }
    expect(failure).toMatchObject({ code: 'storage-full' })
    expect(desk.files).toHaveLength(slots.length)
    await desk.shelf.clear()
    for (const slot of slots) await desk.journal.remove(slot)
    expect(await desk.read(await desk.put('again', 'fits'))).toBe('fits')
  })
})
