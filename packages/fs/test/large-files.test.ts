import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { FRAME_MAGIC } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { Shelf } from './support/shelf.js'

const GIB = 1024 ** 3

/** A file of that size that takes no room on the disk. */
function sparse(file: string, bytes: number, start: Uint8Array = new Uint8Array()): void {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, start)
  fs.truncateSync(file, bytes)
}

describe('a very large file in an entry’s place', () => {
  test.each([
    ['somebody else’s', () => new Uint8Array(), 'foreign'],
    ['with our magic and nothing else', () => FRAME_MAGIC, 'foreign'],
    ['that begins as an entry', (frame: Buffer) => frame, 'corrupt'],
  ])('%s, is a miss', async (_name, start, code) => {
    const shelf = new Shelf()
    await shelf.put('k', Buffer.alloc(100))
    const file = shelf.fileOf('k')
    sparse(file, 5 * GIB, start(fs.readFileSync(file)))
    expect(await shelf.get('k')).toBeUndefined()
    expect(shelf.reports.map((report) => report.code)).toEqual([code])
    expect(await shelf.getStream('k')).toBeUndefined()
    expect(await shelf.holds('k')).toBe(false)
    expect(await shelf.put('k', 'new')).toBe(true)
    expect(String(await shelf.get('k'))).toBe('new')
  })

  test('is deleted, swept and cleared without being read', async () => {
    const shelf = new Shelf()
    await shelf.put('k', Buffer.alloc(100))
    const frame = fs.readFileSync(shelf.fileOf('k'))
    sparse(shelf.fileOf('k'), 5 * GIB, frame)
    await shelf.delete('k')
    expect(fs.existsSync(shelf.fileOf('k'))).toBe(false)
    sparse(shelf.fileOf('k'), 5 * GIB, frame)
    await shelf.clear()
    expect(fs.existsSync(shelf.fileOf('k'))).toBe(false)
  })
})

describe('a stored entry that is larger than what is read into memory', () => {
  test('is a miss for a get, told once, and a stream all the same', async () => {
    const shelf = new Shelf({ maxBufferedBytes: 100_000 })
    await shelf.put('k', Buffer.alloc(200_000, 3))
    for (let i = 0; i < 3; i++) expect(await shelf.get('k')).toBeUndefined()
    expect(shelf.reports).toMatchObject([{ code: 'too-large', key: 'k', concerns: 'key', message: expect.stringContaining('maxBufferedBytes') as unknown }])
    expect(await shelf.holds('k')).toBe(true)
    let read = 0
    for await (const piece of (await shelf.getStream('k'))!.chunks()) read += piece.byteLength
    expect(read).toBe(200_000)
    await shelf.put('k', Buffer.alloc(90_000))
    expect(await shelf.get('k')).toEqual(Buffer.alloc(90_000))
  })

  test.each([0, -1, 1.5, Number.NaN, '1gb'])('maxBufferedBytes may not be %s', (maxBufferedBytes) => {
    expect(() => new FileSystemBackend({ basePath: '/tmp/x', maxBufferedBytes: maxBufferedBytes as number })).toThrow(/maxBufferedBytes must be a whole number above 0/)
  })
})

describe('the backend’s own files', () => {
  test('count for nothing when they are huge', async () => {
    const shelf = new Shelf({ maxBytes: 1e12 })
    await shelf.put('k', 'v')
    sparse(path.join(shelf.root, 'usage', 'abcdefghijkl'), 5 * GIB)
    sparse(path.join(shelf.root, 'records', 'abcdefghijkl.jsonl'), 5 * GIB)
    sparse(path.join(shelf.root, 'THERMOCLINE'), GIB)
    const next = new Shelf({ basePath: shelf.basePath, maxBytes: 1e12 })
    expect(next.backend.openRecordLog().load()).toEqual([])
    expect(await next.put('other', 'v')).toBe(true)
    expect(String(await next.get('k'))).toBe('v')
  })
})

describe('what a caller is told of progress', () => {
  test('may throw without ending the process', async () => {
    const shelf = new Shelf()
    const progress = (): never => {
      throw new Error('of the caller')
    }
    await expect(shelf.put('k', Buffer.alloc(20e6), { progress })).rejects.toMatchObject({ code: 'failed', cause: new Error('of the caller') })
    expect(shelf.temporaryFiles).toEqual([])
  })
})
