import { describe, expect, test } from '@jest/globals'
import { CacheError, crc32, Hosts, type Clock } from '@thermocline/backend'
import { AbsentKeys, checkLifecycleRules, isUnanswered, md5Checksum, ObjectStream, type Arriving } from '@thermocline/object-store'

const BYTES = Buffer.from('what was stored')
const MD5 = 'Pl8XY38/lxSx7UMLba/e7w=='

const place = { operation: 'get', key: 'k' }

function arriving(more: Partial<Arriving> = {}): Arriving {
  return {
    ...{ backend: 'shelf', place, codec: 'buffer', byteLength: BYTES.byteLength, crc32: crc32(BYTES), checksum: undefined, signal: undefined },
    body: (async function* () {
      yield BYTES.subarray(0, 4)
      await Promise.resolve()
      yield BYTES.subarray(4)
    })(),
    drop: () => undefined,
    failed: (error) => error as CacheError,
    onDamage: (reason) => new CacheError('corrupt', reason, place),
    ...more,
  }
}

async function read(stream: ObjectStream): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.chunks()) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

describe('the stream of an object', () => {
  test('gives what arrives, once', async () => {
    const stream = new ObjectStream(arriving())
    expect(stream).toMatchObject({ codec: 'buffer', byteLength: 15, crc32: crc32(BYTES) })
    expect(await read(stream)).toBe('what was stored')
    expect(() => stream.chunks()).toThrow(TypeError)
  })

  test('throws at its end when a checksum is another one, ours or the store\'s', async () => {
    await expect(read(new ObjectStream(arriving({ crc32: 1 })))).rejects.toMatchObject({ code: 'corrupt' })
    await expect(read(new ObjectStream(arriving({ crc32: undefined, checksum: md5Checksum('no such', 'base64') })))).rejects.toMatchObject({ code: 'corrupt' })
    expect(await read(new ObjectStream(arriving({ crc32: undefined, checksum: md5Checksum(MD5, 'base64') })))).toBe('what was stored')
  })

  test('says why it ended early: its reader cancelled, its caller left, or the connection failed', async () => {
    const broken = (more: Partial<Arriving>): ObjectStream => new ObjectStream(arriving({ body: (async function* () {
      yield BYTES.subarray(0, 4)
      throw new CacheError('unavailable', 'the connection ended', place)
    })(), ...more }))
    await expect(read(broken({}))).rejects.toMatchObject({ code: 'unavailable' })
    await expect(read(broken({ signal: AbortSignal.abort('bored') }))).rejects.toThrow('get on shelf was given up: bored')
    let dropped = 0
    const cancelled = broken({ drop: () => (dropped += 1) })
    cancelled.cancel()
    expect(dropped).toBe(1)
    await expect(read(cancelled)).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining('cancelled') as unknown })
  })
})

describe('a 403 for what is absent', () => {
  const setUp = (): { keys: AbsentKeys; told: CacheError[]; pass: (ms: number) => void } => {
    let now = 0
    const clock = { now: () => now, monotonic: () => now, schedule: () => () => undefined } as unknown as Clock
    const told: CacheError[] = []
    const hosts = new Hosts()
    hosts.attach({ clock, evicted: () => undefined, demotes: () => false, report: (error) => void told.push(error) })
    return { keys: new AbsentKeys(hosts, () => new CacheError('access-denied', 'listing is forbidden', place)), told, pass: (ms) => (now += ms) }
  }

  test('is a miss where absent keys are refused, which is asked once and told once', async () => {
    const { keys, told } = setUp()
    let asked = 0
    const ask = async (): Promise<boolean> => (asked += 1) > 0
    expect(await Promise.all([keys.areForbidden(ask), keys.areForbidden(ask)])).toEqual([true, true])
    expect(await keys.areForbidden(ask)).toBe(true)
    expect([asked, told.length]).toEqual([1, 1])
  })

  test('is a refusal again once a key was answered 404: listing has been granted', async () => {
    const { keys, told } = setUp()
    expect(await keys.areForbidden(async () => true)).toBe(true)
    keys.noteNotFound()
    expect(await keys.areForbidden(async () => false)).toBe(false)
    expect(told).toHaveLength(1)
  })

  test('is believed to be a refusal for a minute, and nothing is known while asking fails', async () => {
    const { keys, pass } = setUp()
    await expect(keys.areForbidden(() => Promise.reject(new Error('away')))).rejects.toThrow('away')
    expect(await keys.areForbidden(async () => false)).toBe(false)
    expect(await keys.areForbidden(async () => true)).toBe(false)
    pass(60_001)
    expect(await keys.areForbidden(async () => true)).toBe(true)
  })
})

test('no lifecycle rules are as good as none given', () => {
  expect([checkLifecycleRules(undefined), checkLifecycleRules([])]).toEqual([[], []])
})

test('a request may still be carried out unless it was answered or never sent', () => {
  expect(isUnanswered('unavailable', undefined, 'ECONNRESET')).toBe(true)
  expect(isUnanswered('unavailable', undefined, 'EPROTO')).toBe(true)
  expect(isUnanswered('unavailable', undefined, 'ECONNREFUSED')).toBe(false)
  expect(isUnanswered('unavailable', 504, undefined)).toBe(true)
  expect(isUnanswered('unavailable', 503, undefined)).toBe(false)
  expect(isUnanswered('failed', undefined, 'ECONNRESET')).toBe(false)
})
