import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import { recordHistory, runHistory, type HistoryOptions, type HistoryRule } from '@thermocline/testkit'
import { BROKEN_BACKENDS, BROKEN_MANAGERS, BrokenBackend, brokenManager } from './support/broken.js'

/** Fast, as nothing has to be waited for. */
const RUN = { seed: 1, operations: 800, pace: 2000, patienceMs: 300 }

function over(open: () => TieredCacheManager): Pick<HistoryOptions, 'create'> {
  return { create: () => ({ open, ownTiers: [], cleanUp: () => undefined }) }
}

function on(backend: CacheBackend): TieredCacheManager {
  return new TieredCacheManager({ tiers: { only: { backend, budget: '1d' } }, logger: false })
}

const EXPECTED: Readonly<Record<(typeof BROKEN_BACKENDS)[number] | (typeof BROKEN_MANAGERS)[number], HistoryRule>> = {
  'drops a delete': 'stale',
  'brings an old value back late': 'stale',
  'crosses tenants': 'foreign',
  'flips a byte': 'corrupt',
  'keeps for ever': 'expired',
  'answers a delete before it is done': 'stale',
  'computes for each caller': 'twice',
  'loses the answer': 'unanswered',
  rejects: 'rejected',
}

describe('a checker that could not fail would be worth nothing: it finds', () => {
  test.each(BROKEN_BACKENDS)('a backend that %s', async (how) => {
    const { violations } = await recordHistory({ name: how, ...RUN, ...(how === 'keeps for ever' ? { pace: 400 } : {}), ...over(() => on(new BrokenBackend(new MemoryBackend(), how))) })
    expect(violations.map(({ rule }) => rule)).toContain(EXPECTED[how])
  })

  test.each(BROKEN_MANAGERS)('a manager that %s', async (how) => {
    const { violations } = await recordHistory({ name: how, ...RUN, ...over(() => brokenManager(on(new MemoryBackend()), how)) })
    expect(violations.map(({ rule }) => rule)).toContain(EXPECTED[how])
  })

  test('a shared backend that brings an old value back after it was removed, whichever of three managers reads', async () => {
    const shared = new BrokenBackend(new MemoryBackend(), 'drops a delete', 3)
    const { violations } = await recordHistory({ name: 'shared', managers: 3, ...RUN, ...over(() => on(shared)) })
    expect(violations.map(({ rule }) => rule)).toContain('undead')
  })
})

test('where nothing is broken it finds nothing', async () => {
  const { reads, hits } = await runHistory({ name: 'memory', ...RUN, ...over(() => on(new MemoryBackend())) })
  expect(hits).toBeGreaterThan(reads / 10)
})

test('a failure tells the seed, how to run it again, and the history of the key', async () => {
  const running = runHistory({ name: 'a memory that drops deletes', again: 'HISTORY_SEED=1 npm test', ...RUN, ...over(() => on(new BrokenBackend(new MemoryBackend(), 'drops a delete'))) })
  await expect(running).rejects.toThrow(/a memory that drops deletes broke a promise \(seed 1, 800 operations\)\n\nagain: HISTORY_SEED=1 npm test\n\nstale: .* returned c\d-\d+[\s\S]*> #\d+ \+[\d.]+ ms \.\. #\d+/)
})

test('a fault that cannot begin ends the history with the reason', async () => {
  const fault = {
    name: 'only: it cannot begin',
    on: 'only',
    begin: () => {
      throw new Error('it cannot begin')
    },
    end: () => undefined,
  }
  const subject = { open: () => on(new MemoryBackend()), ownTiers: [], cleanUp: () => undefined, faults: [fault] }
  await expect(recordHistory({ name: 'one fault', ...RUN, operations: 3000, restartsWith: 'only', create: () => subject })).rejects.toThrow('it cannot begin')
})

test('a manager that cannot be opened again ends the history with the reason', async () => {
  let opened = 0
  const open = (): TieredCacheManager => {
    if (opened++ > 0) throw new Error('it cannot be opened')
    return on(new MemoryBackend())
  }
  await expect(recordHistory({ name: 'once', ...RUN, restartsWith: 'only', ...over(open) })).rejects.toThrow('it cannot be opened')
})
