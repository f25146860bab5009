import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { CacheEntry, validateKey, type Clock, type JournalSlot } from '@thermocline/backend'
import { FakeClock, HandFedStream, patterned } from '@thermocline/testkit'
import { Desk } from './support/desk.js'
import { scopeOf } from './support/shelf.js'

/** The name of a directory whose process is in another container: nobody here can ask whether it lives. */
const ELSEWHERE = 'elsewhere.0123456789abcdef.1.7.0123456789ab'

const keysOf = (slots: readonly JournalSlot[]): string[] => slots.map(({ key }) => key)
const note = (key: string, tenant = 'acme'): { tenant: string; key: string } => ({ tenant, key })

/** The directories of processes. */
function owners(desk: Desk): string[] {
  return fs.readdirSync(desk.directory).filter((name) => name !== 'damaged')
}

/** What a process left that has ended, and the place where another finds it. */
async function left(keys: readonly string[], { clock = new FakeClock(Date.now()) }: { clock?: FakeClock } = {}): Promise<{ clock: FakeClock; desk: Desk; next: () => Desk; directory: string }> {
  const desk = new Desk({ clock })
  for (const key of keys) await desk.put(key, key)
  await desk.journal.close()
  const directory = path.join(desk.directory, owners(desk)[0] as string)
  return { clock, desk, directory, next: () => new Desk({ basePath: desk.shelf.basePath, clock }) }
}

/** The same, of a process elsewhere that may live. */
async function leftElsewhere(keys: readonly string[]): Promise<{ clock: FakeClock; next: () => Desk; directory: string }> {
  const clock = new FakeClock(Date.now())
  const { desk, next, directory } = await left(keys, { clock })
  const elsewhere = path.join(desk.directory, ELSEWHERE)
  fs.renameSync(directory, elsewhere)
  fs.utimesSync(elsewhere, 1e9, 1e9) // an instant that copyLater can set again
  return { clock, next, directory: elsewhere }
}

/** Another copy of what is there already, made later: the directory looks as it did. */
function copyLater(directory: string, by: number): void {
  const { atime, mtime } = fs.statSync(directory)
  const last = fs.readdirSync(directory).filter((name) => name.endsWith('.tc')).sort().at(-1) as string
  fs.copyFileSync(path.join(directory, last), path.join(directory, String(Number(last.slice(0, 16)) + by).padStart(16, '0') + last.slice(16)))
  fs.utimesSync(directory, atime, mtime)
}

describe('what a process left that may live', () => {
  test('is taken up when its directory has not changed for half a minute, not before', async () => {
    const { clock, next, directory } = await leftElsewhere(['k'])
    const desk = next()
    expect([desk.journal.load(), desk.journal.nextLoadAt]).toEqual([[], clock.now() + 30_000])
    await clock.advance(29_999)
    expect([desk.journal.load(), desk.journal.nextLoadAt]).toEqual([[], clock.now() + 1])
    await clock.advance(1)
    expect(keysOf(desk.journal.load())).toEqual(['k'])
    expect([desk.journal.nextLoadAt, fs.existsSync(directory)]).toEqual([undefined, false])
  })

  test('is left alone for good once it has changed', async () => {
    const { clock, next, directory } = await leftElsewhere(['k'])
    const desk = next()
    desk.journal.load()
    fs.utimesSync(directory, 1, 1)
    await clock.advance(30_000)
    expect([desk.journal.load(), desk.journal.nextLoadAt]).toEqual([[], undefined])
    await clock.advance(30_000)
    expect([desk.journal.load(), fs.existsSync(directory)]).toEqual([[], true])
  })

  test('is left alone where its directory came later: whoever made it lives', async () => {
    const { clock, next, directory } = await leftElsewhere(['k'])
    const away = `${directory}.away`
    fs.renameSync(directory, away)
    const desk = next()
    expect(desk.journal.load()).toEqual([])
    fs.renameSync(away, directory)
    expect([desk.journal.load(), desk.journal.nextLoadAt]).toEqual([[], undefined])
    await clock.advance(30_000)
    expect([desk.journal.load(), fs.existsSync(directory)]).toEqual([[], true])
  })

  test('is older than what is made here', async () => {
    const { next, directory } = await leftElsewhere(['k'])
    copyLater(directory, 1e12)
    const desk = next()
    desk.journal.load()
    const [last] = fs.readdirSync(directory).sort().slice(-1)
    expect(desk.reserve('k').sequence).toBeGreaterThan(Number(last?.slice(0, 16)))
  })
})

describe('what was invalidated while copies of others may turn up', () => {
  test('is removed when they do, by key and by prefix, of that tenant alone', async () => {
    const { clock, next, directory } = await leftElsewhere(['key', 'other', 'dir/a', 'dir', 'of another tenant'])
    const desk = next()
    desk.journal.load()
    await Promise.all([note('key'), note('of another tenant', 'other'), { tenant: 'acme', prefix: 'dir/' }, { tenant: 'other', prefix: '' }].map((what) => desk.journal.supersede(what)))
    await clock.advance(30_000)
    expect(keysOf(desk.journal.load())).toEqual(['other', 'dir', 'of another tenant'])
    expect([desk.files.length, fs.existsSync(directory)]).toEqual([3, false])
  })

  test('does not concern what their process makes after that; a second time it does', async () => {
    for (const [times, found] of [[1, ['k']], [2, []]] as const) {
      const { clock, next, directory } = await leftElsewhere(['k'])
      const desk = next()
      desk.journal.load()
      await desk.journal.supersede(note('k'))
      copyLater(directory, 1)
      if (times > 1) await desk.journal.supersede(note('k'))
      await clock.advance(30_000)
      expect(keysOf(desk.journal.load())).toEqual(found)
    }
  })

  test('is known to the next process, too, which may find them', async () => {
    const { clock, next } = await leftElsewhere(['a', 'b', 'dir/c', 'd'])
    const desk = next()
    desk.journal.load()
    await desk.journal.supersede(note('a'))
    await Promise.all([desk.journal.supersede(note('b')), desk.journal.supersede({ tenant: 'acme', prefix: 'dir/' })])
    await desk.journal.close()
    const third = next()
    third.journal.load()
    await clock.advance(30_000)
    expect(keysOf(third.journal.load())).toEqual(['d'])
  })

  test('is forgotten when none can turn up any more', async () => {
    const { clock, next } = await leftElsewhere(['k'])
    const desk = next()
    desk.journal.load()
    await desk.journal.supersede(note('k'))
    const notes = (): string[] => (fs.readdirSync(desk.directory, { recursive: true }) as string[]).filter((name) => name.endsWith('superseded.jsonl'))
    expect(notes()).toHaveLength(1)
    await clock.advance(30_000)
    desk.journal.load()
    expect(notes()).toEqual([])
    await desk.journal.supersede(note('k')) // nothing is older
    expect(notes()).toEqual([])
  })

  test('is known to this process at least where it cannot be noted, and rejects', async () => {
    const { clock, next } = await leftElsewhere(['k', 'other'])
    const desk = next()
    desk.journal.load()
    const reading = jest.spyOn(fs.promises, 'readdir').mockRejectedValue(Object.assign(new Error('EIO'), { code: 'EIO' }))
    try {
      await expect(desk.journal.supersede(note('k'))).rejects.toMatchObject({ code: 'failed', operation: 'write-back' })
    } finally {
      reading.mockRestore()
    }
    await clock.advance(30_000)
    expect(keysOf(desk.journal.load())).toEqual(['other'])
  })

  test('is ignored where the note makes no sense', async () => {
    const { clock, next, directory } = await leftElsewhere(['k'])
    const bounds = { '0123456789ab': 9e15 }
    const lines = ['', 'null', '{', '1', '[]', { tenant: 'acme', key: 'k' }, { tenant: 'acme', key: 'k', in: null }, { tenant: 'acme', key: 'k', in: 1 }, { tenant: 1, key: 'k', in: bounds }, { tenant: 'acme', in: bounds }, { tenant: 'acme', key: 1, in: bounds }, { tenant: 'acme', key: 'k', in: { abcdefabcdef: 9e15 } }]
    fs.writeFileSync(path.join(directory, 'superseded.jsonl'), lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''))
    const desk = next()
    desk.journal.load()
    await clock.advance(30_000)
    expect(keysOf(desk.journal.load())).toEqual(['k'])
  })
})

describe('whose a directory is', () => {
  /** The name of a directory of this process. */
  async function ownName(): Promise<string> {
    const desk = new Desk()
    await desk.put('k', 'x')
    return owners(desk)[0] as string
  }

  const parts = (name: string, change: (parts: string[]) => unknown): string => {
    const list = name.split('.')
    change(list)
    return list.join('.')
  }

  test.each([
    ['of this process is not touched', (name: string) => name, 'lives'],
    ['of a process with that id, which began at another time, is taken up', (name: string) => parts(name, (list) => (list[3] = String(Number(list[3]) + 1))), 'gone'],
    ['of a process that has ended is taken up', (name: string) => parts(name, (list) => (list[2] = '4194305')), 'gone'],
    ['that was let go is taken up', () => 'released.0123456789ab', 'gone'],
    ['of another place is watched', (name: string) => parts(name, (list) => (list[1] = '0123456789abcdef')), 'silent'],
    ['with a name that no process gives is nobody’s business', (name: string) => `${name}0`, 'not ours'],
    ['with a name that no process gives up is nobody’s business', () => 'released.0123456789abc', 'not ours'],
  ] as const)('one %s', async (_, nameOf, state) => {
    const { directory, next } = await left(['k'])
    const found = path.join(path.dirname(directory), nameOf(await ownName()))
    fs.renameSync(directory, found)
    const desk = next()
    expect(keysOf(desk.journal.load())).toEqual(state === 'gone' ? ['k'] : [])
    expect(desk.journal.nextLoadAt === undefined).toBe(state !== 'silent')
    expect(fs.existsSync(found)).toBe(state !== 'gone')
  })

  test('it says so again every five seconds, of those it has taken up, too, as long as it is open', async () => {
    const { clock, next } = await left(['found'])
    const desk = next()
    desk.journal.load()
    await desk.put('own', 'x')
    const beganAt = clock.now()
    const beats = (): number[] => owners(desk).map((name) => Math.round(fs.statSync(path.join(desk.directory, name)).mtimeMs) - beganAt)
    for (const at of [5000, 10_000, 15_000]) {
      await clock.advance(4999)
      expect(beats()).not.toContain(at)
      await clock.advance(1)
      expect(beats()).toEqual([at, at])
    }
    await desk.journal.close()
    const released = beats()
    await clock.advance(20_000)
    expect(beats()).toEqual(released)
  })

  test('it says so by what it makes there where it may not say when', async () => {
    const clock = new FakeClock(Date.now())
    const desk = new Desk({ clock })
    await desk.put('k', 'x')
    const [name] = owners(desk) as [string]
    const directory = path.join(desk.directory, name)
    fs.utimesSync(directory, 1, 1)
    const denied = jest.spyOn(fs.promises, 'utimes').mockRejectedValue(Object.assign(new Error('EPERM'), { code: 'EPERM' }))
    try {
      await clock.advance(5000)
    } finally {
      denied.mockRestore()
    }
    expect(fs.statSync(directory).mtimeMs).toBeGreaterThan(1000)
    expect(fs.readdirSync(directory).filter((file) => !file.endsWith('.tc'))).toEqual([])
  })
})

describe('a directory that another process has taken up', () => {
  /** As another does that takes it up. */
  function take(desk: Desk): string {
    const [name] = owners(desk) as [string]
    const taken = path.join(desk.directory, `elsewhere.0123456789abcdef.1.7.${name.split('.').at(-1)}`)
    fs.renameSync(path.join(desk.directory, name), taken)
    return taken
  }

  test('is not this process’s any more: the copies in it are given up, and new ones go to another', async () => {
    const desk = new Desk()
    const slot = await desk.put('k', 'value')
    expect(await slot.isOwn?.()).toBe(true)
    const taken = take(desk)
    expect([await slot.isOwn?.(), await slot.isOwn?.()]).toEqual([false, false])
    expect(desk.journal.size).toEqual({ entries: 0, bytes: 0 })
    const next = await desk.put('l', 'next')
    expect([await next.isOwn?.(), await desk.read(next)]).toEqual([true, 'next'])
    expect([owners(desk).length, fs.readdirSync(taken).length]).toEqual([2, 1])
  })

  test('is noticed when this process says that it lives', async () => {
    const clock = new FakeClock(Date.now())
    const desk = new Desk({ clock })
    await desk.put('k', 'value')
    const taken = take(desk)
    await clock.advance(5000)
    const reserved = desk.reserve('l')
    await desk.store(reserved, 'next')
    expect(await desk.read(reserved)).toBe('next')
    await desk.journal.close()
    expect(fs.readdirSync(taken)).toHaveLength(1)
  })

  test('gives up a copy there, too, that is not wanted any more: nobody is to upload it', async () => {
    const desk = new Desk()
    const [slot, other] = [await desk.put('k', 'value'), await desk.put('l', 'other')]
    const taken = take(desk)
    await desk.journal.remove(slot)
    expect(fs.readdirSync(taken).map((name) => Number(name.slice(0, 16)))).toEqual([other.sequence])
    fs.rmSync(taken, { recursive: true })
    await desk.journal.remove(other) // it is nowhere
    expect(desk.journal.size).toEqual({ entries: 0, bytes: 0 })
  })

  test('while a put was under way there, in a process that stood still, is not where the copy is in the end', async () => {
    for (const sleepMs of [15_000, 15_001]) {
      const clock = new FakeClock(Date.now())
      const desk = new Desk({ clock })
      await desk.put('before', 'x')
      const slot = desk.reserve('k')
      const source = new HandFedStream()
      const put = desk.shelf.putStream('k', source, { journal: slot })
      await source.give(patterned(100_000))
      while (desk.files.length < 2) await new Promise((resolve) => setImmediate(resolve))
      const taken = take(desk)
      clock.jump(sleepMs) // no timer has run meanwhile
      source.end()
      expect(await put).toBe(true)
      expect(slot.failure).toBeUndefined()
      const isDoubtful = sleepMs > 15_000
      expect(await slot.isOwn?.()).toBe(isDoubtful)
      expect((await desk.journal.read(slot, 'payload'))?.encoded?.bytes.length).toBe(isDoubtful ? 100_000 : undefined)
      expect(fs.existsSync(taken)).toBe(true)
    }
  })
})

/** A process that is so slow that each look at the clock takes it a while. */
class SlowClock extends FakeClock {
  #spentMs = 0
  lookMs = 0

  override monotonic = (): number => this.now() + (this.#spentMs += this.lookMs)
}

describe('what was left in great number', () => {
  test('is read a part at a time, oldest first, and what is not read yet is older than what is invalidated meanwhile', async () => {
    const clock = new SlowClock(Date.now())
    const { next } = await left(Array.from({ length: 9 }, (_, at) => `k${at}`), { clock })
    const desk = next()
    clock.lookMs = 70
    const slots = [...desk.journal.load()]
    expect(keysOf(slots)).toEqual(['k0', 'k1']) // in a quarter of a second
    expect(desk.journal.nextLoadAt).toBe(clock.now())
    clock.lookMs = 0
    await Promise.all(slots.map((slot) => desk.journal.remove(slot)))
    await desk.journal.supersede(note('k4'))
    await desk.journal.supersede(note('k8'))
    const made = desk.reserve('k3').sequence
    clock.lookMs = 15
    for (const found of [['k2', 'k3'], ['k5'], ['k6', 'k7'], []]) { // in a fiftieth
      const more = desk.journal.load()
      expect(keysOf(more)).toEqual(found)
      expect(more.every(({ sequence }) => sequence < made)).toBe(true)
      slots.push(...more)
    }
    expect([desk.journal.nextLoadAt, desk.journal.size.entries]).toEqual([undefined, 6])
    clock.lookMs = 0
    const found = owners(desk).length
    for (const slot of slots.slice(2)) await desk.journal.remove(slot)
    expect(owners(desk)).toHaveLength(found - 1) // what is empty goes
  })
})

describe('a journal that cannot be read', () => {
  test('is reported, and read half a minute later; what was called meanwhile is newer', async () => {
    const { clock, next } = await left(['old', 'k', 'dir/l'])
    const desk = next()
    const reading = jest.spyOn(fs, 'readdirSync').mockImplementation(() => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    })
    try {
      expect(desk.journal.load()).toEqual([])
      expect(desk.shelf.reports).toMatchObject([{ code: 'failed', operation: 'write-back' }])
      expect(desk.journal.nextLoadAt).toBe(clock.now() + 30_000)
      await desk.journal.supersede(note('k'))
      await desk.journal.supersede({ tenant: 'acme', prefix: 'dir/' })
      await desk.put('new', 'x')
    } finally {
      reading.mockRestore()
    }
    await clock.advance(30_000)
    expect(keysOf(desk.journal.load())).toEqual(['old'])
    expect(desk.journal.nextLoadAt).toBeUndefined()
  })

  test('takes nothing up and notes nothing once it is closed', async () => {
    const { next } = await left(['k'])
    const desk = next()
    const slot = desk.reserve('l')
    await desk.journal.close()
    expect(desk.journal.load()).toEqual([])
    await desk.journal.supersede(note('k'))
    await expect(desk.store(slot, 'x')).rejects.toMatchObject({ code: 'closed', operation: 'write-back', key: 'l' })
    expect(keysOf(next().journal.load())).toEqual(['k'])
  })
})

test('copies of several processes that bear the same number are all taken up', async () => {
  const { desk, directory, next } = await left(['k'])
  const other = path.join(desk.directory, 'released.aaaaaaaaaaaa')
  fs.cpSync(directory, other, { recursive: true })
  const slots = next().journal.load()
  expect(keysOf(slots)).toEqual(['k', 'k'])
  expect(new Set(slots.map(({ sequence }) => sequence)).size).toBe(2)
})

test('what an unfinished write left is removed, and nothing else', async () => {
  const { directory, next } = await left(['k'])
  const [copy] = fs.readdirSync(directory) as [string]
  for (const name of [`${copy}.new`, 'mine.new', 'mine.tc', `${copy}.newer`, '9999999999999999-never-cold.tc']) fs.writeFileSync(path.join(directory, name), 'x')
  const desk = next()
  expect(keysOf(desk.journal.load())).toEqual(['k'])
  expect(fs.readdirSync(path.join(desk.directory, owners(desk)[0] as string)).sort()).toEqual([copy, `${copy}.newer`, '9999999999999999-never-cold.tc', 'mine.new', 'mine.tc'].sort())
  expect(desk.shelf.reports).toEqual([])
})

describe('the name of a copy', () => {
  test('holds a tier’s name of 180 characters, escaped', async () => {
    const desk = new Desk()
    const reserve = (tier: string): JournalSlot | undefined => desk.journal.reserve({ tier, tenant: 'acme', key: validateKey('k'), expiresAt: Number.POSITIVE_INFINITY, bytes: 1 })
    expect(() => reserve('x'.repeat(181))).toThrow(/at most 180 characters/)
    const slots = ['x'.repeat(180), 'a', 'b', 'a', 'Über/../tier'].map((tier) => reserve(tier) as JournalSlot)
    for (const slot of slots) await desk.store(slot, 'x')
    const { slots: found } = await desk.next()
    expect(found.map(({ tier, expiresAt }) => [tier, expiresAt])).toEqual(slots.map(({ tier }) => [tier, Number.POSITIVE_INFINITY]))
  })

  test('holds any instant', async () => {
    const desk = new Desk()
    const instants = [0.5, 2 ** 45, Number.MAX_SAFE_INTEGER]
    for (const expiresAt of [...instants, Number.MAX_SAFE_INTEGER + 2]) await desk.store(desk.reserve('k', 1, expiresAt), 'x')
    const { slots } = await desk.next()
    expect(slots.map(({ expiresAt }) => expiresAt)).toEqual([...instants, Number.POSITIVE_INFINITY])
  })

  test('does not follow a clock that is beyond all reckoning', async () => {
    const desk = new Desk({ clock: { now: () => 1e15, recent: () => 1e15, monotonic: () => 0, schedule: () => () => undefined, afterPendingIo: (callback) => void setImmediate(callback) } satisfies Clock })
    const sequences = [desk.reserve('a').sequence, desk.reserve('b').sequence]
    expect(sequences).toEqual([4e15, 4e15 + 1])
    await desk.journal.close()
  })
})

describe('the options of a journal', () => {
  test.each([
    [{ maxBytes: -1, maxEntries: 1 }, /^maxBytes must be a number above 0, not -1$/],
    [{ maxBytes: 1, maxEntries: 0 }, /^maxEntries must be a number above 0, not 0$/],
    [{ maxBytes: '1', maxEntries: 1 }, /^maxBytes must be a number above 0, not string$/],
    [{ maxBytes: 1, maxEntries: 1, directory: 'a\0b' }, /^directory must be the path of a directory, not "a\\u0000b"$/],
    [{ maxBytes: 1, maxEntries: 1, directory: 5 }, /^directory must be the path of a directory, not number$/],
  ])('are checked: %j', (options, message) => {
    expect(() => new Desk().shelf.backend.openJournal(options as never)).toThrow(message)
  })
})

describe('a put and its copy', () => {
  test('whose directory cannot be made to survive power loss is stored without one, and the slot says why', async () => {
    const desk = new Desk({ fsync: true })
    const { open } = fs.promises
    const opening = jest.spyOn(fs.promises, 'open').mockImplementation(((file: string, ...rest: [string]) => (file.startsWith(desk.directory) ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })) : open(file, ...rest))) as never)
    const slot = desk.reserve('k')
    try {
      expect(await desk.shelf.put('k', 'value', { journal: slot })).toBe(true)
    } finally {
      opening.mockRestore()
    }
    expect(slot.failure).toMatchObject({ code: 'failed', operation: 'write-back' })
    expect([desk.files, (await desk.shelf.get('k'))?.toString()]).toEqual([[], 'value'])
    await desk.store(slot, 'value')
    expect([slot.failure, await desk.read(slot)]).toEqual([undefined, 'value'])
    await desk.journal.close()
  })

  test('are waited for before the journal is closed', async () => {
    const desk = new Desk()
    const source = new HandFedStream()
    const put = desk.shelf.putStream('k', source, { journal: desk.reserve('k') })
    await source.give(patterned(10_000))
    let isClosed = false
    const closing = desk.journal.close().then(() => (isClosed = true))
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(isClosed).toBe(false)
    source.end()
    await Promise.all([put, closing])
    expect(keysOf(new Desk({ basePath: desk.shelf.basePath }).journal.load())).toEqual(['k'])
  })

  test('which is larger than may be read into memory is an error that says so, and stays', async () => {
    const desk = new Desk({ maxBufferedBytes: 1_000_000 })
    const slot = desk.reserve('k')
    await desk.shelf.putStream('k', { codec: 'buffer', byteLength: undefined, crc32: undefined, chunks: async function* () { yield patterned(1_500_000) }, cancel: () => undefined }, { journal: slot })
    await expect(desk.journal.read(slot, 'payload')).rejects.toMatchObject({ code: 'too-large', key: 'k', concerns: 'key' })
    expect(desk.files).toHaveLength(1)
    expect(await desk.journal.read(slot, 'head')).toMatchObject({ encoded: undefined, expiresAt: slot.expiresAt })
  })

  test('of which another key’s lies in its place is set aside, whoever reads it', async () => {
    for (const want of ['head', 'payload', 'stream'] as const) {
      const desk = new Desk()
      const slots = [await desk.put('k', 'value'), await desk.put('l', 'other')]
      const [first, second] = [...desk.files].sort().map((name) => path.join(desk.directory, name)) as [string, string]
      fs.renameSync(second, first)
      expect(await desk.journal.read(slots[0] as JournalSlot, want)).toBeUndefined()
      expect(desk.shelf.reports).toMatchObject([{ code: 'corrupt', message: expect.stringContaining('it belongs to another tenant or key; it was set aside') }])
      expect(slots[0]?.failure).toBe(desk.shelf.reports[0])
      expect([await desk.journal.read(slots[1] as JournalSlot, want), desk.files.length]).toEqual([undefined, 0])
      for (let turn = 0; turn < 100 && desk.shelf.openFiles > 0; turn++) await new Promise((resolve) => setImmediate(resolve))
      expect(desk.shelf.openFiles).toBe(0)
    }
  })
})

test('a copy of another tenant under the same key is never taken for it', async () => {
  const desk = new Desk()
  const other = desk.journal.reserve({ tenant: 'other', tier: 'cold', key: validateKey('k'), expiresAt: desk.shelf.clock.now() + 3_600_000, bytes: 1 }) as JournalSlot
  await desk.shelf.put('k', 'theirs', { tenant: 'other', journal: other })
  const second = desk.reserve('k')
  await expect(desk.journal.store(second, scopeOf('acme'), CacheEntry.head({ createdAt: 1, expiresAt: second.expiresAt }))).rejects.toThrow()
  expect(desk.files).toHaveLength(1)
  const theirs = desk.file
  const own = await desk.put('k', 'own')
  const place = desk.files.map((name) => path.join(desk.directory, name)).find((file) => file !== theirs) as string
  fs.renameSync(theirs, place)
  expect(await desk.journal.read(own, 'payload')).toBeUndefined()
  expect(desk.shelf.reports).toMatchObject([{ code: 'corrupt' }])
})

describe('the head of a copy', () => {
  test('may be longer than what is read at first', async () => {
    const desk = new Desk()
    const metadata = { long: 'x'.repeat(50_000) }
    const slot = desk.reserve('k')
    const createdAt = desk.shelf.clock.now()
    await desk.shelf.backend.put(scopeOf('acme'), validateKey('k'), CacheEntry.ofBytes({ codec: 'buffer', bytes: Buffer.from('value') }, { createdAt, expiresAt: slot.expiresAt, details: { metadata } }), { onlyIfAbsent: false, keepUntil: slot.expiresAt, journal: slot })
    const { desk: next, slots } = await desk.next()
    expect((await next.journal.read(slots[0] as JournalSlot, 'payload'))?.details).toEqual({ metadata })
    const { file } = next
    for (const [bytes, message] of [[30_000, /breaks off/], [-1, /breaks off/], [1, /does not have the \d+ bytes that its header claims; it was set aside/]] as const) {
      const whole = fs.readFileSync(file)
      const damaged = bytes === 1 ? Buffer.concat([whole, Buffer.of(0)]) : whole.subarray(0, bytes)
      const other = new Desk()
      const place = path.join(other.directory, 'released.0123456789ab')
      fs.mkdirSync(place, { recursive: true })
      fs.writeFileSync(path.join(place, path.basename(file)), damaged)
      expect(other.journal.load()).toEqual([])
      expect(other.shelf.reports.map((error) => message.test(error.message))).toEqual([true])
    }
  })
})
