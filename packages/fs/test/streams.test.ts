import fs from 'node:fs'
import v8 from 'node:v8'
import vm from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import { readFrame, StreamedEntry, validateKey } from '@thermocline/backend'
import { bytesOf, cut, factsOf, HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { startBackendChild } from './support/processes.js'
import { scopeOf, Shelf } from './support/shelf.js'
import { occupied, smallDisk, withDisk } from './support/small-disk.js'

const MEGABYTE = 1024 ** 2
const large = patterned(3 * MEGABYTE + 5)
const onLinux = process.platform === 'linux' ? test : test.skip

/** Changes one byte of a file. */
function flip(file: string, at: number): void {
  const fd = fs.openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  fs.readSync(fd, byte, 0, 1, at)
  fs.writeSync(fd, Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at)
  fs.closeSync(fd)
}

async function collectGarbage(): Promise<void> {
  v8.setFlagsFromString('--expose_gc')
  const collect = vm.runInNewContext('gc') as () => void
  for (let i = 0; i < 5; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('a file that was streamed', () => {
  test.each([['nothing', {}], ['its length', { byteLength: large.length }], ['all of it', factsOf([large])]])('is a frame like any other, with %s known beforehand', async (_what, known) => {
    const shelf = new Shelf()
    let progress = 0
    expect(await shelf.putStream('k', streamOf(cut(large, 1000, 70_000), known), { progress: () => progress++ })).toBe(true)
    expect(readFrame(fs.readFileSync(shelf.fileOf('k')))).toMatchObject({ status: 'ok', header: { key: 'k', payloadBytes: large.length } })
    expect((await shelf.get('k'))?.equals(large)).toBe(true)
    expect(progress).toBeGreaterThanOrEqual(3)
    expect(shelf.temporaryFiles).toEqual([])
  })

  test('has the times that any other has', async () => {
    const shelf = new Shelf({ maxBytes: 10e6 })
    const before = Date.now()
    await shelf.putStream('k', streamOf([large]), { lifeMs: 3_600_000 })
    const { atimeMs, mtimeMs } = fs.statSync(shelf.fileOf('k'))
    expect(atimeMs).toBeGreaterThanOrEqual(before + 3_599_000)
    expect(mtimeMs).toBeGreaterThanOrEqual(before - 1)
    expect(mtimeMs).toBeLessThanOrEqual(Date.now() + 1)
  })

  test('claims a length that it does not have for as long as it is written', async () => {
    const shelf = new Shelf()
    const source = new HandFedStream()
    const put = shelf.putStream('k', source)
    await source.give(patterned(MEGABYTE))
    await source.give(patterned(MEGABYTE))
    await source.give(Buffer.alloc(1))
    const [name] = shelf.temporaryFiles
    expect(readFrame(fs.readFileSync(`${shelf.root}/tmp/${name}`)).status).toBe('corrupt')
    source.end()
    expect(await put).toBe(true)
  })
})

describe('a damaged file, read as a stream', () => {
  test('throws at its end, is reported and removed', async () => {
    const shelf = new Shelf()
    await shelf.put('k', large)
    flip(shelf.fileOf('k'), MEGABYTE)
    const payload = await shelf.getStream('k')
    await expect(bytesOf(payload!)).rejects.toMatchObject({ code: 'corrupt', backend: 'fs', key: 'k', tenant: 'acme', retryable: false })
    expect(shelf.reports).toMatchObject([{ code: 'corrupt', key: 'k' }])
    expect(fs.existsSync(shelf.fileOf('k'))).toBe(false)
    expect(await shelf.getStream('k')).toBeUndefined()
  })

  test('is a miss at once where one read shows all of it, or where it is cut off', async () => {
    const shelf = new Shelf()
    await shelf.put('small', 'some bytes')
    flip(shelf.fileOf('small'), fs.statSync(shelf.fileOf('small')).size - 1)
    await shelf.put('cut', large)
    fs.truncateSync(shelf.fileOf('cut'), MEGABYTE)
    await shelf.put('long', large)
    fs.appendFileSync(shelf.fileOf('long'), 'x')
    for (const key of ['small', 'cut', 'long']) expect(await shelf.getStream(key)).toBeUndefined()
    expect(shelf.reports.map(({ code, key }) => `${code} ${key}`)).toEqual(['corrupt small', 'corrupt cut', 'corrupt long'])
    expect(fs.readdirSync(`${shelf.root}/tenants/acme`)).toEqual([])
  })

  test('stays where a good one was written over it meanwhile', async () => {
    const shelf = new Shelf()
    await shelf.put('k', large)
    flip(shelf.fileOf('k'), 2 * MEGABYTE)
    const payload = await shelf.getStream('k')
    await shelf.put('k', 'good')
    await expect(bytesOf(payload!)).rejects.toMatchObject({ code: 'corrupt' })
    expect((await shelf.get('k'))?.toString()).toBe('good')
  })

  test('that is not ours is left, reported', async () => {
    const shelf = new Shelf()
    await shelf.put('k', 'x')
    fs.writeFileSync(shelf.fileOf('k'), large)
    fs.mkdirSync(shelf.fileOf('directory'))
    fs.copyFileSync(shelf.fileOf('k'), shelf.fileOf('other'))
    await shelf.put('renamed', large)
    fs.renameSync(shelf.fileOf('renamed'), shelf.fileOf('moved'))
    for (const key of ['k', 'directory', 'other', 'moved']) expect(await shelf.getStream(key)).toBeUndefined()
    expect(shelf.reports.map(({ code }) => code)).toEqual(['foreign', 'foreign', 'foreign', 'foreign'])
    expect(fs.readdirSync(`${shelf.root}/tenants/acme`)).toHaveLength(4)
    expect(shelf.openFiles).toBe(0)
  })

  test('a header longer than the first read is read whole', async () => {
    const shelf = new Shelf()
    const metadata = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`name-${i}`, 'x'.repeat(40)]))
    const { backend } = shelf
    const entry = new StreamedEntry(streamOf([large]), { createdAt: Date.now(), expiresAt: Date.now() + 60_000, details: { metadata } })
    await backend.put(scopeOf('acme'), validateKey('k'), entry, { onlyIfAbsent: false, keepUntil: entry.expiresAt })
    const found = await backend.get(scopeOf('acme'), validateKey('k'), { want: 'stream', touch: false })
    expect(found?.details?.metadata).toEqual(metadata)
    expect((await bytesOf((found as StreamedEntry).payload)).equals(large)).toBe(true)
  })
})

describe('descriptors', () => {
  onLinux('are closed at the end, by leaving, by cancel, and when nobody needs the stream any more', async () => {
    const shelf = new Shelf()
    await shelf.put('k', large)
    await bytesOf((await shelf.getStream('k'))!)
    expect(shelf.openFiles).toBe(0)
    for await (const _ of (await shelf.getStream('k'))!.chunks()) break
    await new Promise((resolve) => setTimeout(resolve, 50)) // a read ahead is waited for
    expect(shelf.openFiles).toBe(0)
    const payload = await shelf.getStream('k')
    expect(shelf.openFiles).toBe(1)
    payload!.cancel()
    expect(shelf.openFiles).toBe(0)
    await (async () => {
      for (let i = 0; i < 20; i++) await shelf.getStream('k')
    })()
    await collectGarbage()
    expect(shelf.openFiles).toBe(0)
  })

  onLinux('are closed when a put fails, and its temporary file is gone', async () => {
    const shelf = new Shelf()
    const source = new HandFedStream()
    const put = shelf.putStream('k', source)
    await source.give(patterned(2 * MEGABYTE))
    source.fail(Object.assign(new Error('the source broke'), { code: 'ENOENT' }))
    await expect(put).rejects.toMatchObject({ code: 'failed', retryable: false, cause: { message: 'the source broke' } })
    expect(shelf.openFiles).toBe(0)
    expect(shelf.temporaryFiles).toEqual([])
  })
})

describe('a stream under a limit', () => {
  const maxBytes = 8e6
  const fill = async (shelf: Shelf): Promise<void> => {
    for (let i = 0; i < 70; i++) await shelf.put(`old-${i}`, patterned(100_000, i))
  }

  test('makes room as it grows, and the limit holds meanwhile', async () => {
    const shelf = new Shelf({ maxBytes })
    await fill(shelf)
    const source = new HandFedStream()
    const put = shelf.putStream('k', source)
    for (const chunk of cut(patterned(5e6), 250_007)) {
      await source.give(chunk)
      expect(occupied(shelf.basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
    }
    source.end()
    expect(await put).toBe(true)
    expect(occupied(shelf.basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
    expect(await shelf.holds('old-0')).toBe(false)
    expect(await shelf.holds('old-69')).toBe(true)
    expect((await shelf.get('k'))?.equals(patterned(5e6))).toBe(true)
  })

  test('of unknown length that is larger than the limit is left at that point, and its room given back', async () => {
    const shelf = new Shelf({ maxBytes })
    const source = streamOf(repeated(patterned(100_000), 1000))
    expect(await shelf.putStream('k', source)).toBe(false)
    expect(source.taken).toBeLessThan(1.5 * maxBytes)
    expect(source.isReleased).toBe(true)
    expect(shelf.temporaryFiles).toEqual([])
    expect(shelf.backend.stats().bytes).toBeLessThan(100_000)
    await fill(shelf)
    expect(shelf.evictions).toEqual([])
  })

  test('of a known length that is larger is not read at all', async () => {
    const shelf = new Shelf({ maxBytes })
    await fill(shelf)
    const source = new HandFedStream({ byteLength: 9e6 })
    expect(await shelf.putStream('k', source)).toBe(false)
    expect(source.isReleased).toBe(true)
    expect(await shelf.keys()).toHaveLength(70)
  })

  test('that breaks off gives its room back', async () => {
    const shelf = new Shelf({ maxBytes })
    await shelf.put('first', 'x')
    const before = shelf.backend.stats().bytes
    for (const known of [{}, { byteLength: 6e6 }]) {
      const source = new HandFedStream(known)
      const put = shelf.putStream('k', source)
      await source.give(patterned(3e6))
      source.fail(new Error('the source broke'))
      await expect(put).rejects.toMatchObject({ code: 'failed' })
      expect(Math.abs((shelf.backend.stats().bytes ?? 0) - (before ?? 0))).toBeLessThan(10_000) // directories grow
    }
  })

  test('two that do not fit beside each other both come to an end, and so does a put beside them', async () => {
    const shelf = new Shelf({ maxBytes })
    const sources = [new HandFedStream(), new HandFedStream({ byteLength: 5e6 })]
    const puts = sources.map((source, i) => shelf.putStream(`k${i}`, source))
    let settled = 0
    for (const put of puts) put.then(() => settled++, () => settled++)
    for (let i = 0; i < 10 && settled === 0; i++) await Promise.race([...sources.map((source) => source.give(patterned(500_000, i))), ...puts])
    expect(await shelf.put('other', patterned(7e6))).toBe(false)
    expect(occupied(shelf.basePath)).toBeLessThanOrEqual(1.05 * maxBytes)
    for (const source of sources) source.fail(new Error('the source broke'))
    await Promise.allSettled(puts)
    expect(await shelf.put('other', patterned(7e6))).toBe(true)
    expect(shelf.backend.stats().bytes).toBeGreaterThanOrEqual(7e6)
    expect(shelf.backend.stats().bytes).toBeLessThan(7.2e6)
  })

  test('is not counted twice by a scan while it is written', async () => {
    const shelf = new Shelf({ maxBytes })
    const source = new HandFedStream()
    const put = shelf.putStream('k', source)
    for (let i = 0; i < 4; i++) await source.give(patterned(MEGABYTE))
    const other = new Shelf({ basePath: shelf.basePath, maxBytes })
    await other.put('x', 'x') // scans
    expect(other.backend.stats().bytes).toBeLessThan(6e6)
    source.end()
    expect(await put).toBe(true)
  })
})

describe('a disk that fills up in mid-stream', () => {
  withDisk('rejects as full, and leaves nothing', async () => {
    const shelf = new Shelf({ basePath: smallDisk(8) })
    await shelf.put('k', 'old')
    const source = streamOf(repeated(patterned(100_000), 1000))
    await expect(shelf.putStream('k', source)).rejects.toMatchObject({ code: 'storage-full', retryable: false })
    expect(source.isReleased).toBe(true)
    expect(source.taken).toBeLessThan(20e6)
    expect(shelf.temporaryFiles).toEqual([])
    expect((await shelf.get('k'))?.toString()).toBe('old')
  })

  withDisk('says so also while the source has nothing to give', async () => {
    const shelf = new Shelf({ basePath: smallDisk(2) })
    await shelf.put('other', 'x')
    const source = new HandFedStream()
    const put = shelf.putStream('k', source)
    put.catch(() => undefined)
    void source.give(patterned(4e6))
    await expect(put).rejects.toMatchObject({ code: 'storage-full' })
  })
})

describe('memory', () => {
  test.each([
    [64 * 1024, false, 90e6],
    [4 * MEGABYTE, true, 90e6],
    [1000, false, 200e6],
  ])('stays bounded however large the value: 300 MB in chunks of %d bytes', async (chunk, known, most) => {
    const child = startBackendChild('stream', { basePath: temporaryDirectory(), bytes: 300e6, chunk, known })
    expect(await child.ended).toBe(0)
    const found = JSON.parse(child.output()) as { stored: boolean; read: number; written: number; most: number }
    expect(found).toMatchObject({ stored: true, read: 300e6 })
    // nearly all of it is what the source made and nobody has collected yet: it is the same for 1 GB
    expect(found.written).toBeLessThan(most)
    expect(found.most).toBeLessThan(most)
  }, 60_000)
})

function* repeated(chunk: Uint8Array, times: number): Generator<Uint8Array> {
  for (let i = 0; i < times; i++) yield chunk
}
