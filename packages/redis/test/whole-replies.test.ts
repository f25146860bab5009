import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { WholeReplies } from '../src/whole-replies.js'

const LONGEST = 300_000

/** What is passed on of bytes that are read in pieces of these lengths, over and over. */
function passed(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  const replies = new WholeReplies(LONGEST, (piece) => pieces.push(piece))
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const memory = replies.memory()
    const read = Math.min(lengths[n % lengths.length] as number, memory.length, bytes.length - at)
    bytes.copy(memory, 0, at, at + read)
    replies.read(read)
    at += read
  }
  return pieces
}

const value = (bytes: number): Buffer => Buffer.concat([Buffer.from(`$${bytes}\r\n`), randomBytes(bytes), Buffer.from('\r\n')])

describe('whole replies', () => {
  test('a large value comes in one piece, in memory that is just as long', () => {
    const bytes = value(200_000)
    const pieces = passed(bytes, [65_536])
    expect(pieces).toHaveLength(1)
    expect(pieces[0]?.equals(bytes)).toBe(true)
    expect(pieces[0]?.buffer.byteLength).toBe(bytes.length)
  })

  test('so does each of several, with what stands around them', () => {
    const [a, b] = [value(100_000), value(250_000)]
    const around = Buffer.from('+OK\r\n*3\r\n')
    const pieces = passed(Buffer.concat([around, a, Buffer.from('$-1\r\n'), b, Buffer.from('+PONG\r\n')]), [50_000])
    expect(pieces.map(({ length }) => length)).toEqual([around.length, a.length, 5, b.length, 7])
    expect(pieces[1]?.equals(a)).toBe(true)
    expect(pieces[3]?.equals(b)).toBe(true)
  })

  test('what is passed on stays as it is while more is read', () => {
    const pieces: Buffer[] = []
    const replies = new WholeReplies(LONGEST, (piece) => pieces.push(piece))
    for (const text of ['+first\r\n', '+other\r\n']) replies.read(replies.memory().write(text, 'latin1'))
    expect(pieces.map(String)).toEqual(['+first\r\n', '+other\r\n'])
  })

  test('a value that claims more than is expected gets no memory', () => {
    const pieces: Buffer[] = []
    const replies = new WholeReplies(LONGEST, (piece) => pieces.push(piece))
    replies.read(replies.memory().write('$400000000\r\nab', 'latin1'))
    expect(replies.memory().length).toBeLessThan(100_000)
    expect(Buffer.concat(pieces).toString()).toBe('$400000000\r\nab')
  })

  test('all bytes are passed on in their order, whatever they are and wherever they are cut', () => {
    const upTo = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most })
    const sound = fc.oneof(
      fc.oneof(upTo(1000), fc.integer({ min: 32_000, max: 33_000 }), upTo(310_000)).map(value),
      fc.constantFrom('$-1\r\n', ':42\r\n', '*2\r\n', '$0\r\n\r\n').map((text) => Buffer.from(text)),
      upTo(150_000).map((length) => Buffer.from(`+${'y'.repeat(length)}\r\n`)),
    )
    const odd = fc.oneof(upTo(5000).map((length) => randomBytes(length)), fc.constantFrom('$abc\r\n', '$\r\n', '%1\r\n', '\r\n\n').map((text) => Buffer.from(text)))
    const replies = fc.array(fc.oneof({ weight: 6, arbitrary: sound }, { weight: 1, arbitrary: odd }), { minLength: 1, maxLength: 8 }).map((parts) => Buffer.concat(parts))
    const lengths = fc.array(fc.oneof(upTo(3), upTo(70_000)), { maxLength: 4 }).map((some) => [...some, 10_000])
    fc.assert(
      fc.property(replies, lengths, (bytes, cut) => Buffer.concat(passed(bytes, cut)).equals(bytes)),
      { numRuns: 200, seed: 20_261_121 },
    )
  })
})
