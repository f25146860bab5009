import { describe, expect, test } from '@jest/globals'
import { crc32 } from '@thermocline/backend'
import { checkedChunks } from '../src/frame/checked-chunks.js'

const WHOLE = Buffer.from('abcdefghij')

/** What passes of chunks, and what they end with. */
async function passed(chunks: readonly string[], expected: Parameters<typeof checkedChunks>[1]): Promise<{ bytes: string; reason: string | undefined }> {
  async function* source(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield await Promise.resolve(Buffer.from(chunk))
  }
  let bytes = ''
  try {
    for await (const chunk of checkedChunks(source(), expected, (reason) => new Error(reason))) bytes += String(Buffer.from(chunk))
    return { bytes, reason: undefined }
  } catch (error) {
    return { bytes, reason: (error as Error).message }
  }
}

describe('chunks that are checked', () => {
  const expected = { byteLength: WHOLE.byteLength, crc32: crc32(WHOLE) }

  test.each([[['abcdefghij']], [['abc', '', 'defghi', 'j']], [Array.from({ length: 10 }, (_, at) => 'abcdefghij'.charAt(at))]])('pass when they are what was expected: %j', async (chunks) => {
    for (const known of [expected, { ...expected, crc32: undefined }, { ...expected, byteLength: undefined }, { byteLength: undefined, crc32: undefined }]) {
      expect(await passed(chunks, known)).toEqual({ bytes: 'abcdefghij', reason: undefined })
    }
  })

  test('are refused at their end when there are too few', async () => {
    expect(await passed(['abc', 'def'], { ...expected, crc32: undefined })).toEqual({ bytes: 'abcdef', reason: 'it has 6 payload bytes instead of 10' })
    expect(await passed([], { ...expected, crc32: undefined })).toEqual({ bytes: '', reason: 'it has 0 payload bytes instead of 10' })
  })

  test('are refused before one too many passes', async () => {
    expect(await passed(['abcdef', 'ghijk', 'l'], { ...expected, crc32: undefined })).toEqual({ bytes: 'abcdef', reason: 'it has more than the 10 payload bytes that it ought to have' })
  })

  test('are refused at their end when they are others', async () => {
    for (const known of [expected, { ...expected, byteLength: undefined }]) {
      expect(await passed(['abcde', 'fghiX'], known)).toEqual({ bytes: 'abcdefghiX', reason: 'the checksum of its payload does not match' })
    }
  })

  test('that ought to be none are none', async () => {
    expect(await passed([], { byteLength: 0, crc32: 0 })).toEqual({ bytes: '', reason: undefined })
    expect(await passed(['a'], { byteLength: 0, crc32: 0 })).toEqual({ bytes: '', reason: 'it has more than the 0 payload bytes that it ought to have' })
  })
})
