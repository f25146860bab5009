import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import type { InvalidationRecord, RecordLog } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { FakeClock } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { Shelf } from './support/shelf.js'

const record = (key: string): InvalidationRecord => ({ tier: 'cold', tenant: 'acme', key })
const clearing = (prefix: string): InvalidationRecord => ({ tier: 'cold', tenant: 'acme', prefix })

function open(basePath: string): RecordLog {
  return new Shelf({ basePath }).backend.openRecordLog()
}
const directoryOf = (basePath: string): string => path.join(basePath, 'thermocline', 'records')
function filesOf(basePath: string): string[] {
  return fs.existsSync(directoryOf(basePath)) ? fs.readdirSync(directoryOf(basePath)).map((name) => path.join(directoryOf(basePath), name)) : []
}
const inOrder = (records: readonly InvalidationRecord[]): string[] => records.map((one) => JSON.stringify(one)).sort()

describe('what tiers owe', () => {
  test('survives the process that owed it', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    expect(log.load()).toEqual([])
    const owed = [record('a'), record('line\nbreak'), record('"+-\\'), clearing(''), clearing('docs/'), record('😀')]
    await Promise.all(owed.map((one) => log.add(one)))
    expect(inOrder(open(basePath).load())).toEqual(inOrder(owed))
  })

  test('is forgotten once it is paid, and then no file is left', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    for (const key of ['a', 'b', 'c']) await log.add(record(key))
    log.remove(record('b'))
    await log.close()
    expect(inOrder(open(basePath).load())).toEqual(inOrder([record('a'), record('c')]))
    for (const key of ['a', 'c']) log.remove(record(key))
    await log.close()
    expect(filesOf(basePath)).toEqual([])
  })

  test('is written whole when it was added before the last one was paid', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    void log.add(record('a'))
    log.remove(record('a'))
    void log.add(record('b'))
    log.remove(record('b'))
    await log.add(record('c'))
    await log.close()
    expect(open(basePath).load()).toEqual([record('c')])
  })

  test('stays small however often it changes', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    await log.add(record('stays'))
    for (let i = 0; i < 700; i++) {
      void log.add(record(`k${i}`))
      log.remove(record(`k${i}`))
    }
    await log.close()
    expect(open(basePath).load()).toEqual([record('stays')])
    expect(fs.statSync(filesOf(basePath)[0] as string).size).toBeLessThan(60_000)
  })
})

describe('a file that a crash left', () => {
  test('is read up to a last line that was cut off', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    for (const key of ['a', 'b']) await log.add(record(key))
    const [file] = filesOf(basePath) as [string]
    const whole = fs.readFileSync(file, 'utf8')
    for (let cut = 1; cut < 20; cut++) {
      fs.writeFileSync(file, whole.slice(0, -cut))
      expect(open(basePath).load()).toEqual([record('a')])
    }
  })

  test('is read around lines that make no sense', async () => {
    const basePath = temporaryDirectory()
    await open(basePath).add(record('a'))
    const [file] = filesOf(basePath) as [string]
    const good = fs.readFileSync(file, 'utf8')
    fs.writeFileSync(file, `+{"tier":"co${good}garbage\n+null and void\n${good.replace('"a"', '"b"')}`)
    expect(open(basePath).load()).toEqual([record('b')])
  })

  test('goes when all that was read from it is paid, and stays until then', async () => {
    const basePath = temporaryDirectory()
    const crashed = open(basePath)
    for (const key of ['a', 'b']) await crashed.add(record(key))
    const next = open(basePath)
    next.load()
    next.remove(record('a'))
    await next.close()
    expect(open(basePath).load()).toHaveLength(2) // 'a' once more is a superfluous delete, no stale value
    next.remove(record('b'))
    await next.close()
    expect(filesOf(basePath)).toEqual([])
  })

  test('stays when its process turns out to live and has written since', async () => {
    const basePath = temporaryDirectory()
    const living = open(basePath)
    await living.add(record('a'))
    const next = open(basePath)
    next.load()
    await new Promise((resolve) => setTimeout(resolve, 20))
    await living.add(record('b'))
    next.remove(record('a'))
    await next.close()
    expect(open(basePath).load()).toContainEqual(record('b'))
  })
})

describe('a file that nobody of this release has written', () => {
  const name = 'abcdefghijkl.jsonl'
  function shelfWith(content: string | Buffer): { shelf: Shelf; file: string } {
    const basePath = temporaryDirectory()
    fs.mkdirSync(directoryOf(basePath), { recursive: true })
    const file = path.join(directoryOf(basePath), name)
    fs.writeFileSync(file, content)
    return { shelf: new Shelf({ basePath }), file }
  }
  const good = `+${JSON.stringify(record('good'))}\n`
  const odd = ['null', '7', '"text"', '[]', '[{"tier":"cold"}]', '{}', '{"tier":7,"tenant":"acme","key":"k"}', '{"tier":"cold","tenant":"","key":"k"}', '{"tier":"cold","tenant":"acme","key":7}', '{"tier":"cold","tenant":"acme","prefix":{}}', '{"tier":"cold","tenant":"acme","key":"k","prefix":"p"}', '{"tier":"cold","tenant":"acme"}', '{"tier":"cold","tenant":"acme","key":"\\ud800"}', '{"tier":"cold","tenant":"acme","tag":"t"}']

  test.each(odd)('may have a line %s: it is left out, the others are read, and the file stays', async (line) => {
    const { shelf, file } = shelfWith(`+${line}\n${good}-${line}\n`)
    const log = shelf.backend.openRecordLog()
    expect(log.load()).toEqual([record('good')])
    log.remove(record('good'))
    await log.close()
    expect(fs.existsSync(file)).toBe(true)
  })

  test.each([
    ['nothing', ''],
    ['no line that ends', '+{"tier":"cold"'],
    ['bytes that are no text', Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7919) % 256))],
    ['one line of a megabyte', Buffer.concat([Buffer.alloc(1 << 20, 0x2b), Buffer.from('\n')])],
  ])('may hold %s', (_name, content) => {
    const { shelf } = shelfWith(content)
    expect(shelf.backend.openRecordLog().load()).toEqual([])
    const { shelf: other } = shelfWith(Buffer.concat([Buffer.from(content), Buffer.from(`\n${good}`)]))
    expect(other.backend.openRecordLog().load()).toEqual([record('good')])
  })

  test('may be the manager’s that is made with it', async () => {
    const { shelf } = shelfWith(`${odd.map((line) => `+${line}\n`).join('')}${good}`)
    const cache = new TieredCacheManager({ tiers: { cold: { backend: new FileSystemBackend({ basePath: shelf.basePath }) } }, logger: false })
    await cache.tenant('acme').set('k', 'v')
    expect(await cache.tenant('acme').get('k')).toBe('v')
    await cache.close()
  })

  test('is forgotten after a month by the clock of its manager, unless a newer release may have written it', () => {
    const clock = new FakeClock(Date.now() + 40 * 24 * 3_600_000)
    for (const [content, stays] of [[good, false], [`+{"tier":"cold","tenant":"acme","tag":"t"}\n`, true]] as const) {
      const { shelf, file } = shelfWith(content)
      new Shelf({ basePath: shelf.basePath, clock }).backend.openRecordLog().load()
      expect(fs.existsSync(file)).toBe(stays)
    }
  })

  test('and that cannot be read is told of, once', async () => {
    const { shelf, file } = shelfWith(good)
    const { openSync } = fs
    afterwards(() => (fs.openSync = openSync))
    fs.openSync = ((name, ...rest) => {
      if (name === file) throw Object.assign(new Error('EACCES'), { code: 'EACCES', path: file })
      return openSync(name, ...rest)
    })
    const log = shelf.backend.openRecordLog()
    for (let i = 0; i < 3; i++) expect(log.load()).toEqual([])
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(shelf.reports).toMatchObject([{ code: 'access-denied', message: expect.stringContaining(file) as unknown }])
  })
})

describe('several processes', () => {
  test('keep their own records and read everybody’s', async () => {
    const basePath = temporaryDirectory()
    const logs = Array.from({ length: 4 }, () => open(basePath))
    await Promise.all(logs.flatMap((log, i) => Array.from({ length: 50 }, (_, j) => log.add(record(`${i}-${j}`)))))
    expect(filesOf(basePath)).toHaveLength(4)
    expect(open(basePath).load()).toHaveLength(200)
    for (let j = 0; j < 50; j++) logs[2]?.remove(record(`2-${j}`))
    await logs[2]?.close()
    expect(open(basePath).load().filter(({ key }) => key?.startsWith('2-'))).toEqual([])
    expect(open(basePath).load()).toHaveLength(150)
  })
})

describe('a directory that cannot be written for a while', () => {
  test('gets what was owed meanwhile with the next record', async () => {
    const basePath = temporaryDirectory()
    const log = open(basePath)
    await log.add(record('a'))
    const directory = directoryOf(basePath)
    fs.renameSync(directory, `${directory}-away`)
    fs.writeFileSync(directory, 'in the way')
    await log.add(record('b'))
    fs.rmSync(directory)
    fs.renameSync(`${directory}-away`, directory)
    await log.add(record('c'))
    expect(inOrder(open(basePath).load())).toEqual(inOrder([record('a'), record('b'), record('c')]))
  })
})
