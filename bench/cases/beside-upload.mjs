/*
 * A delete of a key beside a gigabyte of it that is being uploaded: written back, from the disk that has it to a slower store. The delete waits for nothing of
 * the upload, and ends it. What takes its time is that the disk frees a gigabyte: so it is compared with a delete when there is no upload.
 */
import fs from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { timed } from '../lib/timed.mjs'

const MB = 1_000_000
/** Megabytes. */
const WHOLE = 1000
/** When so much of it has arrived, the key is deleted. */
const ARRIVED_PART = 0.1
const KEY = 'frames/large.mp4'

async function open({ dir }, isWrittenBack) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const backend = (name) => ({ backend: new FileSystemBackend({ basePath: path.join(dir, name) }) })
  const cache = new TieredCacheManager({
    coordination: false,
    tiers: { warm: backend('warm'), cold: backend('cold') },
    policies: { frames: { ttl: '1d', tiers: { cold: isWrittenBack && { write: 'back' } } } },
  })
  return { cache, acme: cache.tenant('acme') }
}

function sizeOf({ quick }) {
  return quick ? WHOLE / 20 : WHOLE
}

function* blocks(megabytes) {
  const block = Buffer.alloc(MB, 7)
  for (let n = 0; n < megabytes; n++) yield block
}

/** How much of an upload has arrived in the slower store, which here is a directory too. */
function arrived(dir) {
  const tmp = path.join(dir, 'cold', 'thermocline', 'tmp')
  if (!fs.existsSync(tmp)) return 0
  return Math.max(0, ...fs.readdirSync(tmp).map((name) => fs.statSync(path.join(tmp, name), { throwIfNoEntry: false })?.size ?? 0))
}

async function untilUnderWay(dir, bytes) {
  while (arrived(dir) < bytes) await new Promise((resolve) => setTimeout(resolve, 1))
}

export const besideUploadCases = [
  {
    name: 'delete-beside-gigabyte',
    title: 'delete a key while 1 GB of it is being uploaded',
    kind: 'sample',
    rounds: 15,
    baseline: 'nothing beside',
    contenders: {
      'nothing beside': async (context) => {
        const { cache, acme } = await open(context, false)
        return {
          async sample() {
            await acme.setStream(KEY, Readable.from(blocks(sizeOf(context))))
            return { ms: await timed(() => acme.delete(KEY)) }
          },
          close: () => cache.close(),
        }
      },
      'beside 1 GB': async (context) => {
        const { cache, acme } = await open(context, true)
        const megabytes = sizeOf(context)
        return {
          async sample() {
            await acme.setStream(KEY, Readable.from(blocks(megabytes)))
            await untilUnderWay(context.dir, megabytes * MB * ARRIVED_PART)
            const ms = await timed(() => acme.delete(KEY))
            await cache.flush()
            if (await acme.has(KEY)) throw new Error('what was deleted is there')
            return { ms }
          },
          close: () => cache.close(),
        }
      },
    },
    relative: { of: 'ms', as: 'timesAlone' },
    columns: { ms: 'ms', timesAlone: 'times with nothing beside' },
    bars: [{ what: 'delete beside 1 GB that is being uploaded, times with nothing beside', of: 'beside 1 GB', number: 'timesAlone', atMost: 1.5 }],
  },
]
