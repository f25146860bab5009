import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { FakeClock } from '@thermocline/testkit'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { saying, startChild } from './support/processes.js'
import { Shelf } from './support/shelf.js'
import { isWhole, wholeValue } from './support/values.mjs'

const ROUNDS = 12
const KEYS = 5
const QUARTER_HOUR_MS = 15 * 60_000

describe('a process that is killed while it writes', () => {
  test(
    'leaves whole values and misses, round after round',
    async () => {
      const basePath = temporaryDirectory()
      const shelf = new Shelf({ basePath })
      let hits = 0
      for (let round = 0; round < ROUNDS; round++) {
        const child = startChild('overwrite', basePath, { first: round * 1000, keys: KEYS })
        await saying(child, 'ready')
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 120))
        child.process.kill('SIGKILL')
        expect(await child.ended).toBe('SIGKILL')
        for (let key = 0; key < KEYS; key++) {
          const value = await shelf.get(`key-${key}`)
          if (value === undefined) continue
          hits++
          expect([round, key, isWhole(value)]).toEqual([round, key, true])
        }
      }
      expect(hits).toBeGreaterThan(ROUNDS)
      expect(shelf.reports).toEqual([])
    },
    60_000,
  )

  test('leaves files in tmp/ that go by age, not before, and not because their process is gone', async () => {
    const clock = new FakeClock(Date.now())
    const shelf = new Shelf({ clock, cleanupInterval: '1m' })
    await shelf.put('k', wholeValue(1))
    const tmp = path.join(shelf.root, 'tmp')
    const frame = fs.readFileSync(shelf.fileOf('k'))
    fs.writeFileSync(path.join(tmp, '0123456789ab-1'), frame.subarray(0, 1000))
    fs.writeFileSync(path.join(tmp, '0123456789ab-2'), '')
    fs.writeFileSync(path.join(tmp, '0123456789ab-z'), frame)
    fs.utimesSync(path.join(tmp, '0123456789ab-z'), 1, 1) // its modification time means something else
    await clock.advance(QUARTER_HOUR_MS - 120_000)
    expect(fs.readdirSync(tmp)).toHaveLength(3)
    await clock.advance(240_000)
    expect(fs.readdirSync(tmp)).toEqual([])
    expect(isWhole(await shelf.get('k'))).toBe(true)
  })
})

describe('processes that write the same keys at once', () => {
  test(
    'never show a reader anything but a whole value',
    async () => {
      const basePath = temporaryDirectory()
      const shelf = new Shelf({ basePath })
      const children = [1, 2, 3].map((i) => startChild('overwrite', basePath, { first: i * 100_000, keys: KEYS }))
      await Promise.all(children.map((child) => saying(child, 'ready')))
      const until = Date.now() + 2000
      const writers = new Set<number>()
      let reads = 0
      while (Date.now() < until) {
        const value = await shelf.get(`key-${reads++ % KEYS}`)
        if (value === undefined) continue
        expect(isWhole(value)).toBe(true)
        writers.add(Math.floor(value.readUInt32LE() / 100_000))
      }
      for (const child of children) child.process.kill('SIGKILL')
      await Promise.all(children.map((child) => child.ended))
      expect(reads).toBeGreaterThan(KEYS)
      expect(writers.size).toBeGreaterThan(0)
      expect(shelf.reports).toEqual([])
      expect(children.map((child) => child.output())).toEqual(['ready\n', 'ready\n', 'ready\n'])
    },
    30_000,
  )
})
