import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import type { WriteBackJournal } from '@thermocline/backend'
import { FakeClock } from '@thermocline/testkit'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { saying, startBackendChild, type Child } from './support/processes.js'
import { Shelf } from './support/shelf.js'
import { isWhole } from './support/values.mjs'

const ROUNDS = 25
const LIMITS = { maxBytes: 1e12, maxEntries: 1e6 }
const hasStrace = spawnSync('strace', ['-V']).status === 0
const withStrace = hasStrace ? test : test.skip
if (!hasStrace) console.warn('SKIPPED: the tests that kill at a given system call need strace')

function numbers(child: Child, word: string): Set<number> {
  return new Set([...child.output().matchAll(new RegExp(`^${word} (\\d+)$`, 'gm'))].map(([, number]) => Number(number)))
}

function loadedBy(child: Child): string[] {
  return JSON.parse(/^loaded (.*)$/m.exec(child.output())?.[1] ?? '[]') as string[]
}

/** Takes up what the child left, and compares it with what it said. Returns how many there were. */
async function checkLeft(basePath: string, child: Child): Promise<number> {
  const shelf = new Shelf({ basePath })
  const journal = shelf.backend.openJournal(LIMITS)
  const slots = journal.load()
  const left = new Set(slots.map(({ key }) => Number(key.slice('key-'.length))))
  for (const number of numbers(child, 'stored')) {
    if (!numbers(child, 'removing').has(number)) expect([number, left.has(number)]).toEqual([number, true])
  }
  for (const number of numbers(child, 'removed')) expect([number, left.has(number)]).toEqual([number, false])
  for (const slot of slots) {
    const found = await journal.read(slot, 'payload')
    expect([slot.key, isWhole(found?.encoded?.bytes), Buffer.from(found?.encoded?.bytes ?? []).readUInt32LE()]).toEqual([slot.key, true, Number(slot.key.slice(4))])
    await journal.remove(slot)
  }
  // what was under way breaks off, and is nothing else than that
  expect(shelf.reports.filter(({ code, message }) => code !== 'corrupt' || !message.includes('breaks off'))).toEqual([])
  expect(shelf.reports.length).toBeLessThanOrEqual(1)
  await journal.close()
  await shelf.close()
  return slots.length
}

describe('a process that is killed', () => {
  test('at any moment loses nothing that was acknowledged, and brings back nothing that was removed', async () => {
    const basePath = temporaryDirectory()
    let found = 0
    for (let round = 0; round < ROUNDS; round++) {
      const child = startBackendChild('journal', { basePath, first: round * 1000 + 1 })
      await saying(child, 'ready')
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100))
      child.process.kill('SIGKILL')
      expect(await child.ended).toBe('SIGKILL')
      found += await checkLeft(basePath, child)
    }
    expect(found).toBeGreaterThan(ROUNDS)
    expect(fs.readdirSync(path.join(basePath, 'thermocline', 'journal'))).toEqual([])
  }, 120_000)

  // the calls that a put, a store and a removal make (x86-64 and arm64 have different names for some)
  withStrace.each([
    ['link,linkat', 8],
    ['pwritev,pwrite64', 14],
    ['rename,renameat,renameat2', 10],
    ['utimensat', 6],
    ['unlink,unlinkat', 3],
    ['fsync', 12],
  ])('at any call of %s neither', async (calls, most) => {
    let killed = 0
    for (let when = 1; when <= most; when += Math.ceil(most / 6)) {
      const basePath = temporaryDirectory()
      // strace counts the calls of each thread by itself
      const before = ['strace', '-E', 'UV_THREADPOOL_SIZE=1', '-f', '-qq', '-o', path.join(basePath, 'trace'), '-e', `trace=${calls}`, '-e', `inject=${calls}:signal=KILL:when=${when}`]
      const child = startBackendChild('journal', { basePath, first: 1, count: 8, fsync: calls === 'fsync' }, before)
      if ((await child.ended) === 'SIGKILL') killed++
      await checkLeft(basePath, child)
    }
    expect(killed).toBeGreaterThanOrEqual(Math.min(most, 3))
  }, 120_000)
})

describe('processes with one directory', () => {
  test('have a directory each, and take up only what dead ones left', async () => {
    const basePath = temporaryDirectory()
    const [living, dead] = [1, 1001].map((first) => startBackendChild('journal', { basePath, first, count: 6, stay: true })) as [Child, Child]
    await Promise.all([saying(living, 'stored 6'), saying(dead, 'stored 1006')])
    const directory = path.join(basePath, 'thermocline', 'journal')
    expect(fs.readdirSync(directory)).toHaveLength(2)
    dead.process.kill('SIGKILL')
    await dead.ended
    const next = startBackendChild('load', { basePath, stay: true })
    await saying(next, 'loaded')
    expect(loadedBy(next).sort()).toEqual([1001, 1002, 1003, 1005, 1006].map((n) => `key-${n}`))
    expect(fs.readdirSync(directory)).toHaveLength(2)
    living.process.kill('SIGKILL')
    next.process.kill('SIGKILL')
    await Promise.all([living.ended, next.ended])
    const last = startBackendChild('load', { basePath })
    expect(await last.ended).toBe(0)
    expect(loadedBy(last)).toHaveLength(10)
  }, 30_000)

  test('that start at once share what was left: each copy goes to one of them', async () => {
    const basePath = temporaryDirectory()
    const dead = startBackendChild('journal', { basePath, first: 1, count: 40, stay: true })
    await saying(dead, 'removed 40')
    dead.process.kill('SIGKILL')
    await dead.ended
    const others = Array.from({ length: 4 }, () => startBackendChild('load', { basePath, stay: true }))
    await Promise.all(others.map((child) => saying(child, 'loaded')))
    expect(others.flatMap(loadedBy).sort()).toEqual(Array.from({ length: 40 }, (_, i) => i + 1).filter((n) => n % 4 !== 0).map((n) => `key-${n}`).sort())
    for (const child of others) child.process.kill('SIGKILL')
    await Promise.all(others.map((child) => child.ended))
  }, 30_000)

  test('exit by themselves with a journal open', async () => {
    const child = startBackendChild('journal', { basePath: temporaryDirectory(), first: 1, count: 3 })
    expect(await child.ended).toBe(0)
  })
})

describe('whose a directory is', () => {
  const clockAt = (now: number): FakeClock => new FakeClock(now)

  /** The keys that a new process finds after the directory of the last one was given another name and age, at once or after it has watched. */
  async function foundUnder(rename: (name: string) => string, ageMs = 0, watchedMs = 0): Promise<string[]> {
    const now = Date.now()
    const shelf = new Shelf({ clock: clockAt(now) })
    const journal = shelf.backend.openJournal(LIMITS)
    const slot = journal.reserve({ tier: 'cold', tenant: 'acme', key: 'k' as never, expiresAt: now + 1e6, bytes: 1 })
    await shelf.put('k', 'x', { journal: slot })
    const root = path.join(shelf.root, 'journal')
    const [name] = fs.readdirSync(root) as [string]
    fs.renameSync(path.join(root, name), path.join(root, rename(name)))
    fs.utimesSync(path.join(root, rename(name)), (now - ageMs) / 1000, (now - ageMs) / 1000)
    const clock = clockAt(now)
    const next = new Shelf({ basePath: shelf.basePath, clock }).backend.openJournal(LIMITS)
    const atOnce = next.load()
    clock.jump(watchedMs)
    return [...atOnce, ...next.load()].map(({ key }) => key)
  }
  const withPart = (at: number, value: string) => (name: string) => name.split('.').map((part, i) => (i === at ? value : part)).join('.')

  test('a living process keeps its own, however old', async () => {
    expect(await foundUnder((name) => name, 1e9)).toEqual([])
  })

  test('the same process id at another time is another process', async () => {
    if (process.platform === 'linux') expect(await foundUnder(withPart(3, '12345'))).toEqual(['k'])
  })

  test('a process id that nobody has is dead', async () => {
    expect(await foundUnder(withPart(2, '4194305'))).toEqual(['k'])
  })

  test.each([0, 1e9, -1e9])('of another place only watching tells: half a minute of silence, whatever the clocks say (%i ms)', async (ageMs) => {
    const elsewhere = withPart(1, '0123456789abcdef')
    expect(await foundUnder(elsewhere, ageMs, 25_000)).toEqual([])
    expect(await foundUnder(elsewhere, ageMs, 31_000)).toEqual(['k'])
  })

  test('when that will be known of those that may have ended before', async () => {
    const now = Date.now()
    const shelf = new Shelf({ clock: clockAt(now) })
    const journal = shelf.backend.openJournal(LIMITS)
    expect([journal.load(), journal.nextLoadAt]).toEqual([[], undefined])
    const root = path.join(shelf.root, 'journal')
    const directories = [11, 22].map((pid) => path.join(root, `elsewhere.0123456789abcdef.${pid}.7.0123456789${pid}`))
    for (const directory of directories) fs.mkdirSync(directory, { recursive: true })
    const clock = clockAt(now - 1e9)
    const next = new Shelf({ basePath: shelf.basePath, clock }).backend.openJournal(LIMITS)
    next.load()
    expect((next.nextLoadAt ?? 0) - clock.now()).toBe(30_000)
    clock.jump(30_000) // the second one is gone, the first one lives
    fs.utimesSync(directories[0] as string, 1, 1)
    next.load()
    expect(next.nextLoadAt).toBeUndefined()
    expect(fs.existsSync(directories[0] as string)).toBe(true)
    expect(fs.existsSync(directories[1] as string)).toBe(false)
  })

  test('what has no name of ours is nobody’s to take', async () => {
    expect(await foundUnder(() => 'backup', 1e9)).toEqual([])
    expect(await foundUnder(() => 'damaged', 1e9)).toEqual([])
  })

  test('a process renews the age of its own every five seconds, until it is closed', async () => {
    const clock = clockAt(Date.now() + 1e6)
    const shelf = new Shelf({ clock })
    const journal = shelf.backend.openJournal(LIMITS)
    const slot = journal.reserve({ tier: 'cold', tenant: 'acme', key: 'k' as never, expiresAt: clock.now() + 1e6, bytes: 1 })
    await shelf.put('k', 'x', { journal: slot })
    const root = path.join(shelf.root, 'journal')
    const age = (): number => clock.now() - fs.statSync(path.join(root, fs.readdirSync(root)[0] as string)).mtimeMs
    await clock.advance(5001)
    expect(Math.abs(age())).toBeLessThan(10)
    await clock.advance(60_000)
    expect(Math.abs(age())).toBeLessThan(5010)
    await journal.close()
    await clock.advance(60_000)
    expect(fs.readdirSync(root)[0]).toMatch(/^released\./)
    expect(age()).toBeGreaterThan(59_000)
  })

  test('a later load finds what has been left since', async () => {
    const basePath = temporaryDirectory()
    const shelf = new Shelf({ basePath })
    const journal = shelf.backend.openJournal(LIMITS)
    expect(journal.load()).toEqual([])
    const child = startBackendChild('journal', { basePath, first: 1, count: 3, stay: true })
    await saying(child, 'stored 3')
    expect(journal.load()).toEqual([])
    child.process.kill('SIGKILL')
    await child.ended
    expect(journal.load().map(({ key }) => key)).toEqual(['key-1', 'key-2', 'key-3'])
    expect(journal.load()).toEqual([])
  })
})

describe('another namespace of process ids, as of another container', () => {
  const canUnshare = os.platform() === 'linux' && spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0
  ;(canUnshare ? test : test.skip)('does not take a process there for one here', async () => {
    const basePath = temporaryDirectory()
    const child = startBackendChild('journal', { basePath, first: 1, count: 3, stay: true }, ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'])
    await saying(child, 'stored 3')
    const clock = new FakeClock(Date.now())
    const open = (): WriteBackJournal => new Shelf({ basePath, clock }).backend.openJournal(LIMITS)
    expect(open().load()).toEqual([])
    child.process.kill('SIGKILL')
    await child.ended
    const journal = open()
    expect(journal.load()).toEqual([])
    clock.jump(31_000)
    expect(journal.load().map(({ key }) => key)).toEqual(['key-1', 'key-2', 'key-3'])
  })
})
