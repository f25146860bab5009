import { diskLayer, gcsLayer, memoryLayer, redisLayer, s3Layer, subjectOf } from './support/stacks.js'
import { describeHistories } from './support/histories.js'
import { redisAvailable } from '../support/redis/index.js'
import { s3Kind, startS3 } from '../support/s3/index.js'

/** Of the memory above shared tiers: short, so that its end is seen. */
const OWN = '1s'
const several = { part: 1.5, managers: 3, clients: 4, maxTtlMs: 1000 }
const noRedis = redisAvailable() ? undefined : 'there is no redis-server'
const noS3 = s3Kind() === undefined ? 'there is no S3 server' : undefined

describeHistories('random histories of several managers on the same stores keep the promises', [
  { name: 'redis, shared', ...several, missing: noRedis, create: async () => subjectOf({ redis: await redisLayer() }) },
  { name: 'memory and redis, shared', ...several, missing: noRedis, create: async () => subjectOf({ memory: memoryLayer(OWN), redis: await redisLayer() }) },
  {
    name: 'memory, disk and S3, shared',
    ...several,
    missing: noS3,
    create: async () => subjectOf({ memory: memoryLayer(OWN), disk: await diskLayer(), cold: await s3Layer(await startS3(), true) }),
  },
  { name: 'redis and Cloud Storage, shared', ...several, missing: noRedis, create: async () => subjectOf({ redis: await redisLayer(), cold: await gcsLayer() }) },
])
