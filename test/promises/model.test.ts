import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, test } from '@jest/globals'
import { TieredCacheManager, type PolicyOptions, type TierOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { checkModel, FakeClock, Faults, type ModelSubject } from '@thermocline/testkit'
import { endModel } from '../support/end-model.js'

type Make = (basePath: string) => Record<string, TierOptions>

/** The tiers as they are used: memory answers at once, the disk can fail. */
const STACKS: Readonly<Record<string, { readonly make: Make; readonly faultyFrom: number; readonly policy?: PolicyOptions }>> = {
  memory: { make: () => ({ hot: { backend: new MemoryBackend() } }), faultyFrom: 1 },
  'memory that can fail': { make: () => ({ hot: { backend: new MemoryBackend() } }), faultyFrom: 0 },
  fs: { make: (basePath) => ({ warm: { backend: new FileSystemBackend({ basePath }) } }), faultyFrom: 0 },
  'memory and fs': {
    make: (basePath) => ({ hot: { backend: new MemoryBackend(), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) } }),
    faultyFrom: 1,
  },
  'two memories and fs': {
    make: (basePath) => ({
      hot: { backend: new MemoryBackend(), maxTtl: null },
      warm: { backend: new MemoryBackend(), maxTtl: null },
      cold: { backend: new FileSystemBackend({ basePath }) },
    }),
    faultyFrom: 1,
  },
  'a disk that is written back to another, compressed': {
    make: (basePath) => ({
      hot: { backend: new MemoryBackend(), maxTtl: null },
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }) },
      cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }) },
    }),
    faultyFrom: 1,
    policy: { tiers: { cold: { write: 'back' } }, compression: { algorithm: 'gzip', threshold: 100 } },
  },
  'memory and a disk for which a memory stands in': {
    make: (basePath) => ({
      hot: { backend: new MemoryBackend(), maxTtl: null },
      warm: { backend: new FileSystemBackend({ basePath }), fallback: new MemoryBackend({ maxEntries: 10 }) },
    }),
    faultyFrom: 1,
  },
  'a small memory over a disk it demotes to': {
    make: (basePath) => ({ hot: { backend: new MemoryBackend({ maxEntries: 1 }), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) } }),
    faultyFrom: 1,
    policy: { tiers: { warm: { write: 'demote' } } },
  },
}

/** The same programs each time, so that a failure is a change's doing. More, and others: MODEL_RUNS=1000 MODEL_SEED=$RANDOM */
const runs = Number(process.env.MODEL_RUNS ?? 60)
const seed = Number(process.env.MODEL_SEED ?? 1)

/** Without faults a disk that is slow in real time must not seem to have outlived its budget in fake time. */
const PATIENT = { budget: '1d' }

async function create({ make, faultyFrom, policy }: (typeof STACKS)[string], withFaults: boolean): Promise<ModelSubject> {
  const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-model-'))
  const clock = new FakeClock(Date.now())
  const faults = Object.keys(make(basePath)).map(() => new Faults())
  const open = (): TieredCacheManager => {
    const tiers = Object.entries(make(basePath)).map(([name, options], index): [string, TierOptions] => {
      return [name, { ...options, ...(withFaults ? {} : PATIENT), layers: index < faultyFrom ? [] : [faults[index]!.layer] }]
    })
    return new TieredCacheManager({ tiers: Object.fromEntries(tiers), clock, logger: false, ...(policy === undefined ? {} : { policies: { default: policy } }) })
  }
  let cache = open()
  return {
    cache,
    clock,
    faults,
    reopen: () => Promise.resolve((cache = open())),
    cleanUp: async () => {
      await endModel({ cache, clock, faults })
      await rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
    },
  }
}

describe('random programs keep the promises', () => {
  for (const [name, stack] of Object.entries(STACKS)) {
    const made = Object.values(stack.make(os.tmpdir()))
    const tiers = made.length
    test(`on ${name}, without faults every read is as predicted`, () => checkModel({ create: () => create(stack, false), tiers, faults: false, runs, seed }), 120_000)
    if (made.at(-1)?.backend.capabilities.durable === true) {
      test(`on ${name}, with faults and restarts nothing old comes back`, () => checkModel({ create: () => create(stack, true), tiers, faults: true, restarts: true, runs, seed }), 240_000)
    }
    if (stack.faultyFrom < tiers) {
      test(`on ${name}, with faults nothing old comes back`, () => checkModel({ create: () => create(stack, true), tiers, faults: true, runs, seed }), 240_000)
    }
  }
})
