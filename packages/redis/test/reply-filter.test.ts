import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ReplyFilter, TOO_LARGE } from '../src/reply-filter.js'

const MAX_PAYLOAD = 300_000

interface Outcome {
  readonly pieces: Buffer[]
  readonly refused: string | undefined
  readonly largestMemory: number
  readonly moves: number
}

/** What becomes of bytes that are read in pieces of these lengths, over and over, by a client that waits for replies to these commands. */
function filtered(bytes: Buffer | string, asked: readonly string[], lengths: readonly number[] = [10_000]): Outcome {
  const all = Buffer.from(bytes)
  const queue = asked.map((command) => {
    const [name, ...args] = command.split(' ')
    return { command: { name: name as string, args } }
  })
  const pieces: Buffer[] = []
  let refused: string | undefined
  let moves = 0
  const filter = new ReplyFilter({
    maxPayloadBytes: MAX_PAYLOAD,
    pass: (piece) => {
      expect(refused).toBeUndefined()
      pieces.push(piece)
      const whole = complete(Buffer.concat(pieces))
      queue.splice(0, whole - passed) // as the client does
      passed = whole
    },
    refuse: (reason) => (refused = reason.message),
    moved: () => moves++,
    hasLeft: () => false,
  })
  let passed = 0
  filter.follow({ commandQueue: { get length() { return queue.length }, peekAt: (at) => queue[at] } })
  let largestMemory = 0
  for (let at = 0, n = 0; at < all.length; n++) {
    const memory = filter.memory()
    largestMemory = Math.max(largestMemory, memory.length)
    const read = Math.min(lengths[n % lengths.length] as number, memory.length, all.length - at)
    all.copy(memory, 0, at, at + read)
    filter.read(read)
    at += read
  }
  return { pieces, refused, largestMemory, moves }
}

/** How many replies are whole. Of what is sound only. */
function complete(bytes: Buffer): number {
  let at = 0
  let count = 0
  const skip = (): boolean => {
    const end = bytes.indexOf('\r\n', at)
    if (end === -1) return false
    const size = Number(bytes.toString('latin1', at + 1, end))
    const type = String.fromCharCode(bytes[at] as number)
    at = end + 2
    if (type === '$' && size >= 0) at += size + 2
    if (type === '*') for (let n = 0; n < size; n++) if (!skip()) return false
    return at <= bytes.length
  }
  while (at < bytes.length && skip()) count++
  return count
}

const value = (bytes: number): Buffer => Buffer.concat([Buffer.from(`$${bytes}\r\n`), randomBytes(bytes), Buffer.from('\r\n')])

describe('replies that fit', () => {
  test('a large value comes in one piece, in memory that is just as long', () => {
    const bytes = value(200_000)
    const { pieces } = filtered(bytes, ['get'], [65_536])
    expect(pieces).toHaveLength(1)
    expect(pieces[0]?.equals(bytes)).toBe(true)
    expect(pieces[0]?.buffer.byteLength).toBe(bytes.length)
  })

  test('so does each of several, with what stands around them', () => {
    const [a, b] = [value(100_000), value(250_000)]
    const { pieces } = filtered(Buffer.concat([Buffer.from('+OK\r\n*3\r\n'), a, Buffer.from('$-1\r\n'), b, Buffer.from('+PONG\r\n')]), ['set', 'mget a b c', 'ping'], [50_000])
    expect(pieces.map(({ length }) => length)).toEqual([9, a.length, 5, b.length, 7])
    expect(pieces[1]?.equals(a)).toBe(true)
    expect(pieces[3]?.equals(b)).toBe(true)
  })

  test('what is passed on stays as it is while more is read', () => {
    const { pieces } = filtered('+first\r\n+other\r\n', ['ping', 'ping'], [8])
    expect(pieces.map(String)).toEqual(['+first\r\n', '+other\r\n'])
  })

  test('all bytes are passed on in their order, wherever they are cut', () => {
    const upTo = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most })
    const bulk = fc.oneof(upTo(1000), fc.integer({ min: 32_000, max: 33_000 }), upTo(310_000)).map(value)
    const sound = fc.oneof(
      bulk.map((bytes) => ['get', bytes] as const),
      fc.constant(['get', Buffer.from('$-1\r\n')] as const),
      fc.constant(['get', Buffer.from('$0\r\n\r\n')] as const),
      fc.constant(['unlink', Buffer.from(':42\r\n')] as const),
      fc.constant(['get', Buffer.from('-ERR no\r\n')] as const),
      upTo(10_000).map((length) => ['ping', Buffer.from(`+${'y'.repeat(length)}\r\n`)] as const),
      fc.array(bulk, { minLength: 1, maxLength: 4 }).map((bytes) => [`mget${' k'.repeat(bytes.length)}`, Buffer.concat([Buffer.from(`*${bytes.length}\r\n`), ...bytes])] as const),
      fc.constant(['scan', Buffer.from('*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n')] as const),
    )
    const lengths = fc.array(fc.oneof(upTo(3), upTo(70_000)), { maxLength: 4 }).map((some) => [...some, 10_000])
    fc.assert(
      fc.property(fc.array(sound, { minLength: 1, maxLength: 8 }), lengths, (replies, cut) => {
        const bytes = Buffer.concat(replies.map(([, reply]) => reply))
        const { pieces, refused } = filtered(bytes, replies.map(([command]) => command), cut)
        return refused === undefined && Buffer.concat(pieces).equals(bytes)
      }),
      { numRuns: 60, seed: 20_261_129 },
    )
  })

  test('the slots of a cluster, and what a sentinel knows', () => {
    const node = '*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$1\r\nh\r\n'
    expect(filtered(`*1\r\n*4\r\n:0\r\n:16383\r\n${node}${node}`, ['cluster SLOTS']).refused).toBeUndefined()
    expect(filtered('*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n', ['sentinel get-master-addr-by-name main']).refused).toBeUndefined()
    expect(filtered('*-1\r\n', ['sentinel get-master-addr-by-name main']).refused).toBeUndefined()
    expect(filtered('-MOVED 5 127.0.0.1:7000\r\n-ASK 5 [::1]:7000\r\n-MOVED 5 :7000\r\n', ['get', 'get', 'get']).refused).toBeUndefined()
  })

  test('a value larger than this process stores is a note instead, and takes no memory', () => {
    const { pieces, refused, largestMemory } = filtered(Buffer.concat([Buffer.from('*3\r\n'), value(10), value(5_000_000), value(20), value(500_000)]), ['mget a b c', 'get'], [60_000])
    expect(refused).toBeUndefined()
    const passed = Buffer.concat(pieces).toString('latin1')
    expect(passed.split(TOO_LARGE.toString()).length - 1).toBe(2)
    expect(complete(Buffer.concat(pieces))).toBe(2)
    expect(largestMemory).toBeLessThan(100_000)
  })
})

describe('what does not fit is refused, and nothing of that reply reaches the client', () => {
  test.each([
    ['a null that nobody asked for', '$-1\r\n', []],
    ['a push', '>1\r\n_\r\n', ['get']],
    ['a null of RESP 3', '_\r\n', ['get']],
    ['a map', '%1\r\n+a\r\n+b\r\n', ['info']],
    ['what is not of the protocol', 'HTTP/1.1 400 Bad Request\r\n\r\n', ['get']],
    ['zeros', '\0\0\0', ['get']],
    ['no length', '$\r\n', ['get']],
    ['a length that is none', '$1x\r\n', ['get']],
    ['a negative length', '$-2\r\n', ['get']],
    ['a length with a sign', '$+2\r\n', ['get']],
    ['a length that nothing has', '$9999999999\r\n', ['get']],
    ['a length that does not fit', '$999999999\r\n', ['info']],
    ['a number without an end', `:${'1'.repeat(100)}`, ['unlink']],
    ['a line without an end', `+${'x'.repeat(20_000)}`, ['ping']],
    ['a line with a carriage return', '+a\rb\r\n', ['ping']],
    ['a line that ends in a line feed only', '+ok\n', ['set']],
    ['a value that is longer than it says', '$2\r\nabcd', ['get']],
    ['a value with an end cut short', '$2\r\nab\rx', ['get']],
    ['an array to GET', '*1\r\n$1\r\na\r\n', ['get']],
    ['too few to MGET', '*1\r\n$1\r\na\r\n', ['mget a b']],
    ['a number within MGET', '*1\r\n:1\r\n', ['mget a']],
    ['an error within MGET', '*1\r\n-ERR\r\n', ['mget a']],
    ['nothing to MGET', '*-1\r\n', ['mget a']],
    ['a value to SET', '$1\r\na\r\n', ['set a b']],
    ['text to UNLINK', '+OK\r\n', ['unlink a']],
    ['null to INFO', '$-1\r\n', ['info']],
    ['a number to SUBSCRIBE', ':1\r\n', ['subscribe x']],
    ['a null channel', '*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n', ['subscribe x']],
    ['null to CLUSTER SLOTS', '*-1\r\n', ['cluster SLOTS']],
    ['a range without nodes’ ports', '*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\nh\r\n', ['cluster SLOTS']],
    ['more slots than there are', '*1\r\n*2\r\n:0\r\n:9007199254740991\r\n', ['cluster SLOTS']],
    ['a port that is none', '*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:70000\r\n', ['cluster SLOTS']],
    ['a redirection to nowhere', '-MOVED 1\r\n', ['get']],
    ['no names in a page', '*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n', ['scan 0']],
    ['arrays without end', '*1\r\n'.repeat(50), ['unknown']],
    ['more items than anybody has', '*2000000\r\n', ['unknown']],
    ['an address that is null', '*2\r\n$-1\r\n$-1\r\n', ['sentinel get-master-addr-by-name x']],
  ])('%s', (_, bytes, asked) => {
    for (const lengths of [[10_000], [1]]) {
      const { refused, pieces } = filtered(bytes, asked, lengths)
      expect(refused).toMatch(/^the server sent .*; the connection was left$/)
      expect(complete(Buffer.concat(pieces))).toBe(0)
    }
  })

  test('replies before it are passed on', () => {
    const { pieces, refused } = filtered('+OK\r\n$-1\r\n$-1\r\n', ['set', 'get'])
    expect(refused).toContain('what it was not asked for')
    expect(Buffer.concat(pieces).toString()).toBe('+OK\r\n$-1\r\n')
  })
})

test('bytes that come one by one are no progress until the reply is there', () => {
  expect(filtered(value(900), ['get'], [1]).moves).toBe(1)
  expect(filtered(value(10_000), ['get'], [1]).moves).toBe(10)
})

describe('a client of the user’s, which speaks version 3', () => {
  function taken(bytes: string, asked: readonly string[]): { passed: string; refused: string | undefined } {
    const queue = asked.map((name) => ({ command: { name, args: [] as unknown[] } }))
    let passed = ''
    let refused: string | undefined
    const filter = new ReplyFilter({
      isForeign: true,
      maxPayloadBytes: Number.POSITIVE_INFINITY,
      pass: (piece) => {
        passed += piece.toString('latin1')
        if (!piece.toString().startsWith('>')) queue.shift()
      },
      refuse: (reason) => (refused = reason.message),
      moved: () => undefined,
      hasLeft: () => false,
    })
    filter.follow({ commandQueue: { get length() { return queue.length }, peekAt: (at) => queue[at] } })
    filter.take(Buffer.from(bytes, 'latin1'))
    return { passed, refused }
  }

  test.each([
    ['%1\r\n$1\r\na\r\n,1.5\r\n', ['config']],
    ['_\r\n', ['get']],
    ['#t\r\n', ['exists']],
    ['~2\r\n:1\r\n(99999999999999999999\r\n', ['smembers']],
    ['=9\r\ntxt:hello\r\n', ['info']],
    ['*2\r\n:1\r\n-ERR no\r\n', ['exec']],
    ['>2\r\n$10\r\ninvalidate\r\n_\r\n$1\r\na\r\n', ['get']],
    ['>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n', []],
    ['>3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n', []],
  ])('%j reaches it', (bytes, asked) => {
    expect(taken(bytes, asked)).toEqual({ passed: bytes, refused: undefined })
  })

  test.each([
    ['_\r\n', []],
    ['>1\r\n_\r\n', ['get']],
    ['>3\r\n$7\r\nmessage\r\n_\r\n$1\r\nm\r\n', []],
    ['>3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n', ['subscribe']],
    ['_x\r\n', ['get']],
    ['#maybe\r\n', ['get']],
    ['_\r\n', ['subscribe']],
    [':1\r\n', ['info']],
    ['$99999999999\r\n', ['get']],
    ['*1\r\n>0\r\n', ['get']],
  ])('%j does not', (bytes, asked) => {
    expect(taken(bytes, asked)).toMatchObject({ passed: '', refused: expect.stringContaining('the connection was left') })
  })
})
