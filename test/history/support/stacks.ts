import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { TieredCacheManager, type PolicyOptions, type TierOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { GcsBackend } from '@thermocline/gcs'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'
import { S3Backend } from '@thermocline/s3'
import { Faults, type HistoryFault, type HistorySubject } from '@thermocline/testkit'
import { canMount, mountSmallDisk } from '../../../packages/fs/test/support/small-disk.js'
import { optionsFor } from '../../../packages/s3/test/support/shelf.js'
import { startStrictGcs } from '../../support/gcs/index.js'
import { startProxy } from '../../support/proxy.js'
import { startRedis } from '../../support/redis/index.js'
import { CephServer, type S3Server } from '../../support/s3/index.js'
import { briefDoubt } from './brief-doubt.js'
import { isLeftOut } from './known.js'
import { badDisk, badNetwork, dies, freezes, LONGEST_STALL_MS, stops } from './weather.js'

/** One tier of a stack: how each manager opens it, and what can go wrong with it. */
interface Layer {
  readonly open: () => TierOptions
  readonly faults: readonly HistoryFault[]
  readonly cleanUp: () => unknown
}

/** Less than the five seconds of an object store, so that a fault may outlast it. */
const OBJECT_BUDGET = '400ms'
/** A put without an answer may land for a minute; between here and the server for no longer than a fault lasts, on a busy machine too. */
const LANDS_WITHIN_MS = 2 * LONGEST_STALL_MS
const DISK_MEGABYTES = 8

export async function redisLayer(): Promise<Layer> {
  const server = await startRedis()
  const proxy = await startProxy(server.port)
  return {
    open: () => ({ backend: new RedisBackend({ host: '127.0.0.1', port: proxy.port, keyPrefix: 'tc:history:' }) }),
    faults: [...badNetwork(proxy, 'redis'), stops(server, 'redis'), dies(server, 'redis')],
    cleanUp: async () => {
      await proxy.close()
      await server.stop()
    },
  }
}

export async function diskLayer(): Promise<Layer> {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-history-'))
  if (canMount) mountSmallDisk(directory, DISK_MEGABYTES)
  const faults = new Faults()
  return {
    open: () => ({ backend: new FileSystemBackend({ basePath: directory }), layers: [faults.layer] }),
    faults: [freezes(faults, 'disk'), ...(canMount ? badDisk(directory, 'disk') : [])],
    cleanUp: () => {
      if (canMount) execFileSync('umount', ['-l', directory])
      rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
    },
  }
}

/** @param mayDie whether the server is killed as well: of several stacks on it, one may do that */
export async function s3Layer(server: S3Server, mayDie: boolean): Promise<Layer> {
  const ceph = server instanceof CephServer ? server : undefined
  const bucket = await newBucket(server, ceph)
  const proxy = await startProxy(server.port)
  return {
    open: () => ({ backend: new S3Backend(optionsFor(server, bucket, { port: proxy.port })), budget: OBJECT_BUDGET, layers: [briefDoubt(LANDS_WITHIN_MS)] }),
    faults: [...badNetwork(proxy, 's3'), ...(ceph === undefined ? [] : [stops(ceph, 's3'), ...(mayDie ? [dies(ceph, 's3')] : [])])],
    cleanUp: () => proxy.close(),
  }
}

/** The gateway may have ended by itself some time after the last history on it was over. */
async function newBucket(server: S3Server, ceph: CephServer | undefined): Promise<string> {
  try {
    return await server.createBucket()
  } catch (error) {
    if (ceph === undefined) throw error
    await ceph.restart()
    return server.createBucket()
  }
}

export async function gcsLayer(): Promise<Layer> {
  const server = await startStrictGcs()
  const prefix = randomUUID()
  const bucket = await server.createBucket()
  const proxy = await startProxy(server.port)
  return {
    open: () => ({ backend: new GcsBackend({ bucket, apiEndpoint: server.storageOptions(proxy.port).apiEndpoint, prefix }), budget: OBJECT_BUDGET, layers: [briefDoubt(LANDS_WITHIN_MS)] }),
    faults: [
      ...badNetwork(proxy, 'gcs'),
      { name: 'gcs: answers 503', on: 'gcs', begin: () => server.faults.error(503, { times: 5 }), end: () => server.faults.clear() },
      { name: 'gcs: does what was asked and answers 503', on: 'gcs', begin: () => server.faults.error(503, { times: 5, isDone: true }), end: () => server.faults.clear() },
      { name: 'gcs: flips a bit', on: 'gcs', begin: () => server.faults.corrupt({ times: 3 }), end: () => server.faults.clear() },
    ],
    cleanUp: async () => {
      await proxy.close()
      await server.stop()
    },
  }
}

export function memoryLayer(maxTtl: TierOptions['maxTtl'] = null): Layer {
  return { open: () => ({ backend: new MemoryBackend({ maxEntries: 9 }), maxTtl }), faults: [], cleanUp: () => undefined }
}

/** The tiers, fastest first, as the stores of a history. */
export function subjectOf(layers: Readonly<Record<string, Layer>>, policy?: PolicyOptions, coordination?: false): HistorySubject {
  return {
    open: () =>
      new TieredCacheManager({
        tiers: Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, layer.open()])),
        ...(policy === undefined ? {} : { policies: { default: policy } }),
        coordination,
        logger: false,
      }),
    ownTiers: 'memory' in layers ? ['memory'] : [],
    faults: Object.values(layers).flatMap(({ faults }) => faults.filter(({ name }) => !isLeftOut(name))),
    cleanUp: async () => {
      for (const { cleanUp } of Object.values(layers)) await cleanUp()
    },
  }
}
