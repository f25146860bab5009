import { gcsLayer, memoryLayer, diskLayer, redisLayer, s3Layer, subjectOf } from './support/stacks.js'
import { describeHistories } from './support/histories.js'
import { redisAvailable } from '../support/redis/index.js'
import { s3Kind, startS3, type S3Server } from '../support/s3/index.js'

const BACK = { tiers: { cold: { write: 'back' } } } as const
const noRedis = redisAvailable() ? undefined : 'there is no redis-server'
const noS3 = s3Kind() === undefined ? 'there is no S3 server' : undefined

let starting: Promise<S3Server> | undefined
/** One for all stacks. */
function s3(): Promise<S3Server> {
  return (starting ??= startS3())
}

describeHistories('random histories of one manager keep the promises', [
  { name: 'memory', part: 5, pace: 1000, create: () => subjectOf({ memory: memoryLayer() }) },
  { name: 'memory and redis', part: 2.5, missing: noRedis, create: async () => subjectOf({ memory: memoryLayer(), redis: await redisLayer() }) },
  { name: 'memory and disk', part: 2, restartsWith: 'disk', create: async () => subjectOf({ memory: memoryLayer(), disk: await diskLayer() }) },
  { name: 'disk and S3', part: 1.5, missing: noS3, create: async () => subjectOf({ disk: await diskLayer(), cold: await s3Layer(await s3(), true) }) },
  {
    name: 'redis, disk and S3, written back',
    part: 1.5,
    missing: noRedis ?? noS3,
    restartsWith: 'disk',
    create: async () => subjectOf({ redis: await redisLayer(), disk: await diskLayer(), cold: await s3Layer(await s3(), false) }, BACK, false),
  },
  {
    name: 'redis, disk and Cloud Storage, written back',
    part: 1.5,
    missing: noRedis,
    restartsWith: 'disk',
    create: async () => subjectOf({ redis: await redisLayer(), disk: await diskLayer(), cold: await gcsLayer() }, BACK, false),
  },
])
