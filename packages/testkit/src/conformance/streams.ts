import assert from 'node:assert/strict'
import { isCacheError, isStreamed, type CacheEntry } from '@thermocline/backend'
import { HOUR_MS, key, plain, type Bench } from '../bench.js'
import { bytesOf, cut, factsOf, HandFedStream, patterned, streamOf, type ObservedStream } from '../streams.js'
import type { Check } from './check.js'

const MEGABYTE = 1024 ** 2
const LARGE = 20 * MEGABYTE + 77
/** Sizes that fit no buffer of any store. */
const ODD_SIZES = [1, 65_521, 7, 1_000_003, 13, 300_007]
/** More than any limit of open files, sockets or requests at once that a store may have. */
const MANY_READS = 200

/** What a backend with `capabilities.streams` promises beyond the rest. */
export function streamChecks(check: Check): void {
  wholeStreams(check)
  brokenSources(check)
  readersWhoLeave(check)
  streamsAtOnce(check)
}

function wholeStreams(check: Check): void {
  check('a miss is undefined', async (bench) => {
    assert.equal(await bench.getStream('nothing'), undefined)
  })
  const bytes = patterned(300_000)
  const chunks = cut(bytes, ...ODD_SIZES)
  const { byteLength, crc32 } = factsOf(chunks)
  for (const [what, known] of [['nothing', {}], ['the length', { byteLength }], ['the checksum', { crc32 }], ['length and checksum', { byteLength, crc32 }]] as const) {
    check(`a stream that knows ${what} beforehand is read back as payload and as stream`, async (bench) => {
      const source = streamOf(chunks, known)
      assert.equal(await bench.putStream('k', source), true)
      assert.equal(source.taken, byteLength)
      const { encoded } = await bench.got('k')
      assert.equal(encoded?.codec, 'buffer')
      assert.ok(bytes.equals(encoded.bytes), 'the payload has the bytes that were streamed')
      const entry = await bench.gotStream('k')
      assert.equal(entry.payload.codec, 'buffer')
      assert.ok([byteLength, undefined].includes(entry.payload.byteLength), `${byteLength} or unknown, not ${entry.payload.byteLength}`)
      assert.ok([crc32, undefined].includes(entry.payload.crc32), `${crc32} or unknown, not ${entry.payload.crc32}`)
      assert.ok(bytes.equals(await bytesOf(entry.payload)), 'the stream has the bytes that were streamed')
    })
  }
  check('a stream can be begun once: the second time is a TypeError, and the first goes on', async (bench) => {
    await bench.putStream('k', streamOf(chunks))
    const entry = await bench.gotStream('k')
    const reading = bytesOf(entry.payload)
    assert.throws(() => entry.payload.chunks(), TypeError)
    assert.ok(bytes.equals(await reading), 'the stream has the bytes that were streamed')
  })
  check('what was put in one piece is read as a stream', async (bench) => {
    for (const size of [0, 1, 16_384, 3_000_001]) {
      await bench.put(`size-${size}`, patterned(size))
      const entry = await bench.gotStream(`size-${size}`)
      assert.equal(entry.payload.codec, (await bench.got(`size-${size}`)).encoded?.codec)
      assert.ok(patterned(size).equals(await bytesOf(entry.payload)), `${size} bytes`)
    }
  })
  check('instants, tags and metadata come with the stream, and with the head alone', async (bench) => {
    const createdAt = bench.now
    const details = { tags: ['red', 'grün'], metadata: { source: 'käse', empty: '' }, staleMs: 1000, fence: 7 }
    await bench.putStream('k', streamOf(chunks), { createdAt, details, computeMicros: 1500, keepUntil: createdAt + 2000 })
    const stream = await bench.gotStream('k')
    const head = await bench.backend.get(bench.scope, key('k'), { want: 'head', touch: false })
    assert.ok(head !== undefined)
    assert.ok(!isStreamed(head), 'a head holds nothing that has to be given up')
    assert.equal(head.encoded, undefined)
    for (const entry of [head, stream, await bench.got('k')]) {
      assert.equal(entry.createdAt, createdAt)
      assert.equal(entry.expiresAt, createdAt + HOUR_MS)
      assert.equal(entry.keepUntil, createdAt + 2000)
      assert.equal(entry.computeMicros, 1500)
      assert.deepEqual(plain(entry.details), details)
    }
    stream.payload.cancel()
    const [info] = await bench.list('', 'info')
    assert.ok((info?.size ?? 0) >= byteLength)
    assert.equal(info?.expiresAt, createdAt + 2000)
  })
  check('an empty payload and one byte come back', async (bench) => {
    for (const size of [0, 1]) {
      for (const [name, known] of [['known', factsOf([patterned(size)])], ['unknown', {}]] as const) {
        assert.equal(await bench.putStream(name, streamOf(size === 0 ? [] : [patterned(size)], known)), true)
        assert.ok(patterned(size).equals((await bench.read(name)) ?? Buffer.from('a miss')))
        assert.ok(patterned(size).equals(bench.valueOf(await bench.got(name)) as Buffer))
      }
    }
  })
  check('chunks without bytes do no harm', async (bench) => {
    const none = new Uint8Array()
    await bench.putStream('k', streamOf([none, patterned(10, 1), none, none, patterned(10, 2), none]))
    assert.ok(Buffer.concat([patterned(10, 1), patterned(10, 2)]).equals((await bench.read('k')) as Buffer))
  })
  check('20 MB in odd pieces come back in order, in chunks that own their memory', async (bench) => {
    const large = patterned(LARGE)
    if (!(await bench.putStream('k', streamOf(cut(large, ...ODD_SIZES))))) return // above its limit
    const kept: Uint8Array[] = []
    let copied = 0
    for await (const chunk of (await bench.gotStream('k')).payload.chunks()) {
      assert.ok(large.subarray(copied, copied + chunk.byteLength).equals(chunk), `at ${copied}`)
      copied += chunk.byteLength
      kept.push(chunk)
    }
    assert.ok(large.equals(Buffer.concat(kept)), 'nobody wrote to a chunk after it was handed out')
    assert.ok(kept.every((chunk) => chunk.byteLength <= 8 * MEGABYTE), 'in pieces')
  })
}

function brokenSources(check: Check): void {
  const old = Buffer.from('old')
  /** What a put that came to nothing leaves: the old entry, and nothing new. */
  const unchanged = async (bench: Bench): Promise<void> => {
    assert.ok(old.equals((await bench.read('old')) as Buffer), 'the old entry is served')
    assert.equal(await bench.get('new'), undefined)
    assert.equal(await bench.getStream('new'), undefined)
    assert.deepEqual(await bench.keys(''), ['old'])
  }
  const begin = async (bench: Bench, name: string, wishes = {}): Promise<{ source: HandFedStream; put: Promise<boolean> }> => {
    const source = new HandFedStream()
    const put = bench.putStream(name, source, wishes)
    put.catch(() => undefined)
    for (const chunk of cut(patterned(3 * MEGABYTE), 500_009)) await Promise.race([source.give(chunk), put])
    return { source, put }
  }

  check('nothing is to be seen before the source has ended', async (bench) => {
    await bench.put('old', old)
    const over = await begin(bench, 'old')
    const fresh = await begin(bench, 'new')
    await unchanged(bench)
    assert.equal(await bench.backend.get(bench.scope, key('new'), { want: 'head', touch: false }), undefined)
    for (const { source, put } of [over, fresh]) {
      source.end()
      assert.equal(await put, true)
    }
    for (const name of ['old', 'new']) assert.ok(patterned(3 * MEGABYTE).equals((await bench.read(name)) as Buffer))
  })
  check('a source that throws half-way rejects the put and changes nothing', async (bench) => {
    await bench.put('old', old)
    for (const name of ['old', 'new']) {
      const { source, put } = await begin(bench, name)
      const broken = new Error('the source broke')
      source.fail(broken)
      const error = await rejectionOf(put)
      assert.ok(isOf(error, broken), `rejects with what the source threw, not with ${String(error)}`)
      assert.ok(source.isReleased)
    }
    await unchanged(bench)
  })
  check('a source that throws before its first byte does so too', async (bench) => {
    await bench.put('old', old)
    const broken = new Error('the source broke')
    const source = new HandFedStream()
    source.fail(broken)
    const error = await rejectionOf(bench.putStream('new', source))
    assert.ok(isOf(error, broken))
    await unchanged(bench)
  })
  check('a source that fails as a connection does is not a store that is away', async (bench) => {
    await bench.put('old', old)
    for (const code of ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'ETIMEDOUT']) {
      const { source, put } = await begin(bench, 'new')
      const broken = Object.assign(new Error('the source broke'), { code })
      source.fail(broken)
      const error = await rejectionOf(put)
      assert.ok(isOf(error, broken), `rejects with what the source threw, not with ${String(error)}`)
      assertSaysNothingOfTheStore(error)
    }
    await unchanged(bench)
  })
  const bytes = patterned(300_000)
  const right = factsOf([bytes])
  for (const [what, wrong] of [
    ['too great a length', { ...right, byteLength: right.byteLength + 1 }],
    ['too small a length', { ...right, byteLength: right.byteLength - 1 }],
    ['a length of none', { byteLength: 0 }],
    ['another checksum', { ...right, crc32: right.crc32 ^ 1 }],
    ['another checksum and no length', { crc32: right.crc32 ^ 1 }],
  ] as const) {
    check(`a source that claims ${what} is refused`, async (bench) => {
      await bench.put('old', old)
      for (const name of ['old', 'new']) {
        const source = streamOf(cut(bytes, ...ODD_SIZES), wrong)
        await rejectionOf(bench.putStream(name, source))
        assert.ok(source.isReleased)
      }
      await unchanged(bench)
    })
  }
  for (const name of ['old', 'new']) {
    check(`a put over ${name === 'old' ? 'something' : 'nothing'} that is abandoned while its source has nothing to give ends, and changes nothing`, async (bench) => {
      await bench.put('old', old)
      const controller = new AbortController()
      const { source, put } = await begin(bench, name, { signal: controller.signal })
      controller.abort(new Error('nobody waits any more'))
      await rejectionOf(put)
      assert.ok(source.isReleased, 'what is left of the source was given up')
      await unchanged(bench)
    })
  }
  check('onlyIfAbsent answers where something is without reading the source to its end', async (bench) => {
    await bench.put('old', old)
    const source = new HandFedStream() // which never ends
    void source.give(patterned(100_000))
    assert.equal(await bench.putStream('old', source, { onlyIfAbsent: true }), false)
    assert.ok(source.isReleased, 'what is left of the source was given up')
    await unchanged(bench)
  })
  check('onlyIfAbsent leaves what is there also when the stream is over already, and gives the source up', async (bench) => {
    await bench.put('old', old)
    const source = streamOf(cut(patterned(100_000), 9973))
    assert.equal(await bench.putStream('old', source, { onlyIfAbsent: true, keepUntil: bench.now - 1 }), false)
    assert.ok(source.isReleased)
    await unchanged(bench)
  })
  check('onlyIfAbsent stores where nothing is, or what may no longer be served', async (bench) => {
    await bench.put('over', old, { keepUntil: bench.now - 1 })
    for (const name of ['over', 'new']) {
      assert.equal(await bench.putStream(name, streamOf(cut(patterned(100_000), 9973)), { onlyIfAbsent: true }), true)
      assert.ok(patterned(100_000).equals((await bench.read(name)) as Buffer))
    }
  })
}

function readersWhoLeave(check: Check): void {
  const bytes = patterned(2 * MEGABYTE)
  const ways: readonly (readonly [how: string, leave: (bench: Bench) => Promise<void>])[] = [
    ['before they began', async (bench) => (await bench.gotStream('k')).payload.cancel()],
    [
      'in the middle, by cancel',
      async (bench) => {
        const { payload } = await bench.gotStream('k')
        const chunks = payload.chunks()[Symbol.asyncIterator]()
        const first = await chunks.next()
        assert.ok(first.done !== true)
        payload.cancel()
        payload.cancel()
        assert.ok(await isCutOff(chunks, bytes.byteLength - first.value.byteLength), 'a stream that was cancelled does not look like one that has ended')
      },
    ],
    [
      'in the middle, by leaving the loop',
      async (bench) => {
        for await (const _ of (await bench.gotStream('k')).payload.chunks()) break
      },
    ],
    [
      'while they wait for bytes',
      async (bench) => {
        const { payload } = await bench.gotStream('k')
        const next = payload.chunks()[Symbol.asyncIterator]().next()
        payload.cancel()
        await next.catch(() => undefined)
      },
    ],
  ]
  for (const [how, leave] of ways) {
    check(`readers who leave ${how} exhaust nothing, ${MANY_READS} in a row`, async (bench) => {
      await bench.put('k', bytes)
      for (let i = 0; i < MANY_READS; i++) await leave(bench)
      assert.ok(bytes.equals((await bench.read('k')) as Buffer))
      assert.equal(await bench.put('k', 'and later operations work'), true)
      assert.equal(bench.valueOf(await bench.got('k')), 'and later operations work')
      assert.deepEqual(bench.failures, [])
    })
  }
  check('what a reader has given up says nothing of the store', async (bench) => {
    await bench.put('k', bytes)
    for (let i = 0; i < 10; i++) {
      const { payload } = await bench.gotStream('k')
      const steps = payload.chunks()[Symbol.asyncIterator]()
      const first = i % 2 === 0 ? steps.next() : undefined
      payload.cancel()
      for (const step of [first, steps.next()]) await step?.catch(assertSaysNothingOfTheStore)
    }
    for (let i = 0; i < 10; i++) {
      const leaving = new AbortController()
      const entry = await bench.backend.get(bench.scope, key('k'), { want: 'stream', touch: true, signal: leaving.signal })
      assert.ok(entry !== undefined && isStreamed(entry))
      const reading = bytesOf(entry.payload)
      leaving.abort(new Error('nobody waits any more'))
      await reading.catch(assertSaysNothingOfTheStore)
    }
    assert.ok(bytes.equals((await bench.read('k')) as Buffer))
  })
  check('to cancel after the end is harmless', async (bench) => {
    await bench.put('k', bytes)
    const { payload } = await bench.gotStream('k')
    await bytesOf(payload)
    payload.cancel()
    payload.cancel()
    assert.ok(bytes.equals((await bench.read('k')) as Buffer))
  })
}

function streamsAtOnce(check: Check): void {
  const size = 2 * MEGABYTE
  check('of two streams into one key one stays, whole', async (bench) => {
    const sources = [1, 2].map(() => new HandFedStream())
    const puts = sources.map((source) => bench.putStream('k', source))
    const pieces = [1, 2].map((seed) => cut(patterned(size, seed), 100_003))
    for (let i = 0; i < (pieces[0]?.length ?? 0); i++) await Promise.all(sources.map((source, which) => source.give(pieces[which]?.[i] as Uint8Array)))
    for (const source of sources) source.end()
    assert.deepEqual(await Promise.all(puts), [true, true])
    const found = (await bench.read('k')) as Buffer
    assert.ok([1, 2].some((seed) => patterned(size, seed).equals(found)), 'one of the two, not a mixture')
    assert.deepEqual(await bench.keys(''), ['k'])
  })
  check('onlyIfAbsent has one winner among many', async (bench) => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => bench.putStream('k', streamOf(cut(patterned(300_000, i), 70_001)), { onlyIfAbsent: true })))
    assert.equal(outcomes.filter(Boolean).length, 1)
    assert.ok(patterned(300_000, outcomes.indexOf(true)).equals((await bench.read('k')) as Buffer))
  })
  check('a reader has the whole of one value, or an error, while the key is written and deleted', async (bench) => {
    const values = Array.from({ length: 4 }, (_, seed) => patterned(size + seed, seed))
    await bench.put('k', values[0])
    for (let round = 0; round < 12; round++) {
      const entry: CacheEntry | undefined = await bench.getStream('k')
      const change = round % 4 === 3 ? Promise.resolve(bench.backend.delete(bench.scope, [key('k')], {})) : bench.putStream('k', streamOf(cut(values[round % 4] as Buffer, 200_003)))
      if (entry !== undefined && isStreamed(entry)) {
        const found = await bytesOf(entry.payload).catch(() => undefined)
        assert.ok(found === undefined || values.some((value) => value.equals(found)), 'a value that was put, whole')
      }
      await change
    }
  })
  check('many streams go both ways at once', async (bench) => {
    const seeds = Array.from({ length: 16 }, (_, i) => i)
    const sources: ObservedStream[] = seeds.map((seed) => streamOf(cut(patterned(500_000, seed), 64_007)))
    assert.ok((await Promise.all(seeds.map((seed) => bench.putStream(`key-${seed}`, sources[seed] as ObservedStream)))).every(Boolean))
    const found = await Promise.all(seeds.map((seed) => bench.read(`key-${seed}`)))
    for (const seed of seeds) assert.ok(patterned(500_000, seed).equals(found[seed] as Buffer))
  })
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  let outcome: unknown
  try {
    outcome = await promise
  } catch (error) {
    return error
  }
  return assert.fail(`it resolves with ${String(outcome)} instead of rejecting`)
}

/** A circuit breaker leaves a store out for these at once. */
function assertSaysNothingOfTheStore(error: unknown): void {
  const code = isCacheError(error) ? error.code : undefined
  assert.ok(code !== 'unavailable' && code !== 'timeout', `what was given up is no outage, but it failed with ${String(error)}`)
}

/** Whether the rest of a stream ends with an error, unless all of it was at hand already. */
async function isCutOff(chunks: AsyncIterator<Uint8Array>, left: number): Promise<boolean> {
  try {
    for (let rest = left; ; ) {
      const next = await chunks.next()
      if (next.done === true) return rest === 0
      rest -= next.value.byteLength
    }
  } catch {
    return true
  }
}

/** The failure of a source, or an error about it: its cause is a copy, without what the source's client may have hung on it. */
function isOf(error: unknown, broken: Error): boolean {
  return error === broken || (isCacheError(error) && (error.cause as Error | undefined)?.message === broken.message)
}
