import { describe, expect, test } from '@jest/globals'
import { ownMemory, readFrame, readFrameHead } from '@thermocline/backend'
import { frameOf } from '../../../test/support/frames.js'

const FRAME = frameOf({ key: 'k', value: 'x'.repeat(200) })
const HEADER_BYTES = FRAME.length - 200

describe('a whole frame', () => {
  test('is its header and its payload', () => {
    expect(readFrame(FRAME)).toMatchObject({ status: 'ok', header: { tenant: 'acme', key: 'k' }, payload: FRAME.subarray(HEADER_BYTES) })
  })

  test('says what is wrong with it', () => {
    expect(readFrame(FRAME.subarray(0, 3))).toEqual({ status: 'foreign', reason: 'it is too short to be a frame' })
    expect(readFrame(FRAME.subarray(0, 20))).toEqual({ status: 'corrupt', reason: 'it ends inside its header' })
    expect(readFrame(FRAME.subarray(0, -1))).toEqual({ status: 'corrupt', reason: 'it has 199 payload bytes instead of 200' })
    const foreign = { status: 'foreign', reason: 'it does not begin with the magic of a frame' }
    expect([readFrame(Buffer.from('something else')), readFrameHead(Buffer.from('something else'), 2048)]).toEqual([foreign, foreign])
  })

  test('cut off anywhere is corrupt, and foreign before its magic is whole', () => {
    for (let length = 0; length < FRAME.length; length++) {
      expect([length, readFrame(FRAME.subarray(0, length)).status]).toEqual([length, length < 4 ? 'foreign' : 'corrupt'])
    }
  })
})

describe('the first bytes of a frame', () => {
  test('are its head, without a payload', () => {
    expect(readFrameHead(FRAME.subarray(0, HEADER_BYTES + 10), HEADER_BYTES + 10)).toMatchObject({ status: 'ok', header: { key: 'k' }, payload: undefined })
    expect(readFrameHead(FRAME, 2048)).toMatchObject({ status: 'ok', payload: undefined })
  })

  test('say so when the header is longer', () => {
    for (const most of [4, 15, 16, HEADER_BYTES - 1]) expect(readFrameHead(FRAME.subarray(0, most), most)).toBeUndefined()
  })

  test('are corrupt when they are all there is and the frame claims more, or less', () => {
    for (const cut of [FRAME.subarray(0, 15), FRAME.subarray(0, HEADER_BYTES - 1), FRAME.subarray(0, -1), Buffer.concat([FRAME, FRAME])]) {
      expect(readFrameHead(cut, 2048)?.status).toBe('corrupt')
    }
  })
})

test('a payload that is a small part of its buffer gets memory of its own, any other stays', () => {
  const read = Buffer.alloc(1000, 7)
  for (const [bytes, stays] of [[1000, true], [501, true], [500, true], [499, false], [300, false]] as const) expect([bytes, ownMemory(read.subarray(0, bytes)).buffer === read.buffer]).toEqual([bytes, stays])
  expect(ownMemory(read.subarray(400))).toMatchObject({ buffer: read.buffer, byteLength: 600 })
  const own = ownMemory(read.subarray(990))
  expect(own).toEqual(Buffer.alloc(10, 7))
  expect(own.buffer.byteLength).toBe(10)
})
