import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { checkModel, Faults, type ModelSubject } from '@thermocline/testkit'
import { endModel } from './end-model.js'
import { NetworkClock } from './network-clock.js'

/** The same programs each time. More, and others: MODEL_RUNS=1000 MODEL_SEED=$RANDOM */
const runs = Number(process.env.MODEL_RUNS ?? 20)
const seed = Number(process.env.MODEL_SEED ?? 1)

const TIERS = 3
/** Without faults a store that is slow in real time must not seem to have outlived its budget in fake time. */
const PATIENT = { budget: '1d' }
const LONGEST_MS = 240_000

/** The model-based test on memory, a disk and an object store that is written through or back. */
export function describeModel(store: string, open: () => CacheBackend): void {
  const create = async (write: 'through' | 'back', withFaults: boolean): Promise<ModelSubject> => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-model-'))
    const clock = new NetworkClock(Date.now())
    const faults = Array.from({ length: TIERS }, () => new Faults())
    const patience = withFaults ? {} : PATIENT
    const cache = new TieredCacheManager({
      tiers: {
        hot: { backend: new MemoryBackend(), maxTtl: null, ...patience },
        warm: { backend: new FileSystemBackend({ basePath }), ...patience, layers: [faults[1]!.layer] },
        cold: { backend: open(), ...patience, layers: [clock.layer, faults[2]!.layer] },
      },
      policies: { default: { tiers: { cold: { write } } } },
      clock,
      logger: false,
    })
    const cleanUp = async (): Promise<void> => {
      await endModel({ cache, clock, faults })
      await rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
    }
    return { cache, clock, faults, cleanUp }
  }
  for (const write of ['through', 'back'] as const) {
    const on = `on memory, disk and ${store}, written ${write}`
    test(`${on}, without faults every read is as predicted`, () => checkModel({ create: () => create(write, false), tiers: TIERS, faults: false, runs, seed }), LONGEST_MS)
    test(`${on}, with faults nothing old comes back`, () => checkModel({ create: () => create(write, true), tiers: TIERS, faults: true, runs, seed }), LONGEST_MS)
  }
}
