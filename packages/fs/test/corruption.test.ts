import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { FakeClock } from '@thermocline/testkit'
import { FRAME_PREAMBLE_BYTES } from '@thermocline/backend'
import { Shelf } from './support/shelf.js'

const VALUE = Buffer.from('the one true value')
/** The magic, whose loss makes data foreign, then the version and the flags, which only a newer release knows. */
const FOREIGN_BELOW = 8

async function stored(): Promise<{ shelf: Shelf; file: string; frame: Buffer }> {
  const shelf = new Shelf()
  await shelf.put('k', VALUE)
  const file = shelf.fileOf('k')
  return { shelf, file, frame: fs.readFileSync(file) }
}

async function expectMiss(shelf: Shelf, file: string, code: 'foreign' | 'corrupt', why: string): Promise<void> {
  shelf.reports.length = 0
  expect([why, await shelf.get('k')]).toEqual([why, undefined])
  expect([why, shelf.reports.map((report) => report.code)]).toEqual([why, [code]])
  expect([why, fs.readdirSync(path.dirname(file)).includes(path.basename(file))]).toEqual([why, code === 'foreign'])
}

/** Everything that may be in an entry's place without being an entry of ours. */
const FOREIGN: readonly (readonly [name: string, place: (file: string, frame: Buffer) => void])[] = [
  ['an empty file', (file) => fs.writeFileSync(file, '')],
  ['somebody’s text', (file) => fs.writeFileSync(file, 'dear diary')],
  ['somebody’s large file', (file) => fs.writeFileSync(file, Buffer.alloc(100_000, 7))],
  ['a frame of a future version', (file, frame) => fs.writeFileSync(file, Buffer.from(frame).fill(2, 4, 5))],
  ['a directory', (file) => fs.mkdirSync(file)],
  ['a directory with a file', (file) => fs.mkdirSync(path.join(file, 'inner'), { recursive: true })],
  ['a link to nothing at all', (file) => fs.symlinkSync(path.basename(file), file)],
]

describe('damage is a miss, counted and removed', () => {
  test('an entry cut off anywhere after its magic is corrupt, before that foreign', async () => {
    const { shelf, file, frame } = await stored()
    for (let length = 0; length < frame.length; length++) {
      fs.writeFileSync(file, frame.subarray(0, length))
      await expectMiss(shelf, file, length < 4 ? 'foreign' : 'corrupt', `${length} of ${frame.length} bytes`)
    }
  })

  test('a flipped bit in any byte never becomes another value', async () => {
    const { shelf, file, frame } = await stored()
    for (let at = 0; at < frame.length; at++) {
      const flipped = Buffer.from(frame)
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
      fs.writeFileSync(file, flipped)
      await expectMiss(shelf, file, at < FOREIGN_BELOW ? 'foreign' : 'corrupt', `byte ${at} of ${frame.length}`)
    }
  })

  test('a header that claims a great length is corrupt', async () => {
    const { shelf, file, frame } = await stored()
    for (const length of [frame.length + 1, 0xffff, 1 << 20, 0xffffffff]) {
      const claiming = Buffer.from(frame)
      claiming.writeUInt32LE(length, 8)
      fs.writeFileSync(file, claiming)
      await expectMiss(shelf, file, 'corrupt', `${length} bytes`)
    }
    expect(FRAME_PREAMBLE_BYTES).toBe(16)
  })

  test('a large entry that lost its end or got a longer one is corrupt', async () => {
    const shelf = new Shelf()
    for (const change of [(size: number) => size - 1, () => 16 * 1024, () => 20_000, (size: number) => size + 1]) {
      await shelf.put('k', Buffer.alloc(300_000, 1))
      fs.truncateSync(shelf.fileOf('k'), change(fs.statSync(shelf.fileOf('k')).size))
      await expectMiss(shelf, shelf.fileOf('k'), 'corrupt', String(change))
    }
  })

  test('a read of the head of a damaged entry reports and removes it too', async () => {
    const { shelf, file, frame } = await stored()
    fs.writeFileSync(file, frame.subarray(0, 40))
    expect(await shelf.holds('k')).toBe(false)
    expect(shelf.reports.map((report) => report.code)).toEqual(['corrupt'])
    expect(fs.existsSync(file)).toBe(false)
  })

  test('a good entry written over a damaged one is served', async () => {
    const { shelf, file, frame } = await stored()
    fs.writeFileSync(file, frame.subarray(0, -1))
    expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(true)
    expect(String(await shelf.get('k'))).toBe('promoted')
  })
})

describe('what is not ours is a miss, counted and left in place', () => {
  test.each(FOREIGN)('%s', async (_name, place) => {
    const { shelf, file, frame } = await stored()
    fs.rmSync(file)
    place(file, frame)
    const before = fs.lstatSync(file)
    for (let i = 0; i < 2; i++) await expectMiss(shelf, file, 'foreign', 'get')
    expect(await shelf.holds('k')).toBe(false)
    expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(false)
    expect(await shelf.delete('k')).toBe(0)
    expect(await shelf.clear()).toBe(0)
    expect(fs.lstatSync(file)).toMatchObject({ ino: before.ino, size: before.size, mtimeMs: before.mtimeMs })
  })

  test('another key’s or tenant’s entry under this name is never served', async () => {
    const { shelf, file } = await stored()
    await shelf.put('other', 'of the other key')
    await shelf.put('k', 'of the other tenant', { tenant: 'globex' })
    for (const source of [shelf.fileOf('other'), shelf.fileOf('k', 'globex')]) {
      fs.copyFileSync(source, file)
      await expectMiss(shelf, file, 'foreign', source)
      expect(await shelf.delete('k')).toBe(0)
    }
    expect(String(await shelf.get('other'))).toBe('of the other key')
  })

  test('a file where a tenant’s directory belongs', async () => {
    const shelf = new Shelf({ maxBytes: 1e6 })
    await shelf.put('k', VALUE, { tenant: 'globex' })
    fs.writeFileSync(path.join(shelf.root, 'tenants', 'acme'), 'dear diary')
    expect(await shelf.get('k')).toBeUndefined()
    expect(await shelf.delete('k')).toBe(0)
    await expect(shelf.put('k', VALUE)).rejects.toMatchObject({ code: 'foreign' })
    expect(shelf.reports.map((report) => report.code)).toEqual(['foreign'])
    expect(await shelf.get('k', { tenant: 'globex' })).toEqual(VALUE)
  })

  test('delete, clear, eviction and sweep leave it, wherever it is, and go on without it', async () => {
    const clock = new FakeClock(Date.now())
    const shelf = new Shelf({ clock, maxBytes: 2_500_000 })
    const tenant = path.join(shelf.root, 'tenants', 'acme')
    await shelf.put('k', VALUE)
    const frame = fs.readFileSync(shelf.fileOf('k'))
    for (let i = 0; i < 100; i++) FOREIGN[i % FOREIGN.length]?.[1](path.join(tenant, `foreign-${i}.tc`), frame)
    const elsewhere = ['note.txt', 'thermocline.txt', 'thermocline/note.txt', 'thermocline/tmp/note.txt', 'thermocline/tmp/0123456789ab-1', 'thermocline/tenants/note.tc', 'thermocline/tenants/acme/NOTE.tc', 'thermocline/tenants/acme/note']
    for (const name of elsewhere) fs.writeFileSync(path.join(shelf.basePath, name), 'dear diary')
    for (const name of ['usage', 'records']) {
      fs.mkdirSync(path.join(shelf.root, name), { recursive: true })
      fs.writeFileSync(path.join(shelf.root, name, 'note.jsonl'), 'dear diary')
    }
    const foreign = (): string[] => (fs.readdirSync(shelf.basePath, { recursive: true }) as string[]).filter((name) => /foreign|note/i.test(name)).sort()
    const before = foreign()
    for (let i = 0; i < 60; i++) expect(await shelf.put(`mine-${i}`, Buffer.alloc(50_000), { lifeMs: 60_000 })).toBe(true)
    expect(shelf.evictions.length).toBeGreaterThan(20)
    await clock.advance(2 * 3_600_000)
    expect((await shelf.keys()).filter((key) => !key.startsWith('foreign-'))).toEqual([])
    await shelf.clear()
    await shelf.delete('foreign-1')
    expect(foreign()).toEqual(before)
    shelf.backend.openRecordLog().load()
    expect(foreign()).toEqual(before)
  })

  test('when what is not ours fills the limit, writes are refused quietly instead of searching for ever', async () => {
    const shelf = new Shelf({ maxBytes: 300_000 })
    await shelf.put('mine', VALUE)
    fs.writeFileSync(shelf.fileOf('theirs'), Buffer.alloc(300_000))
    const second = new Shelf({ basePath: shelf.basePath, maxBytes: 300_000 })
    expect(await second.put('k', VALUE)).toBe(false)
    expect(second.reports).toEqual([])
    expect(fs.existsSync(second.fileOf('theirs'))).toBe(true)
  })
})
