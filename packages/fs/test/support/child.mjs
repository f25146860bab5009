/*
 * A process that uses the cache as an application would. It runs the built packages: what crashes is what is published.
 *
 *   node child.mjs '{"work":"overwrite","basePath":"/some/where", ...}'
 */
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { wholeValue } from './values.mjs'

/** What a header takes, about. */
const FRAME_BYTES = 120
const { work, basePath, maxBytes, ...plan } = JSON.parse(process.argv[2])
const cache = new TieredCacheManager({
  tiers: { warm: { backend: new FileSystemBackend({ basePath, maxBytes }), budget: '30s' } },
  logger: false,
})
const acme = cache.tenant('acme')
cache.on('error', ({ error }) => process.stdout.write(`error ${error.code} ${error.message}\n`))
cache.on('degraded', ({ circuit, error }) => process.stdout.write(`degraded ${circuit} ${error?.code}\n`))

async function inParallel(count, step) {
  await Promise.all(Array.from({ length: count }, (_, lane) => step(lane)))
}

const works = {
  /** Writes large values over and over, until it is killed. */
  async overwrite() {
    process.stdout.write('ready\n')
    for (let number = plan.first; ; number++) await acme.set(`key-${number % plan.keys}`, wholeValue(number))
  },
  /** Writes entries of mixed sizes, so many bytes in all. */
  async fill() {
    let number = 0
    let left = plan.bytes
    await inParallel(plan.lanes, async () => {
      while (left > 0) {
        const n = number++
        const size = plan.sizes[n % plan.sizes.length]
        left -= size + FRAME_BYTES
        const tenant = plan.tenants === undefined ? 'acme' : `tenant-${(n * 31) % plan.tenants}`
        await cache.tenant(tenant).set(`${plan.name}-${n % plan.keys}`, Buffer.alloc(size, n % 251))
      }
    })
    process.stdout.write('all written\n')
    await cache.close()
  },
  /** Writes a number of small entries. */
  async populate() {
    let number = 0
    await inParallel(32, async () => {
      while (number < plan.entries) await acme.set(`entry-${number++}`, 'x')
    })
    await cache.close()
  },
  /** Uses the cache and then has nothing left to do. */
  async visit() {
    await acme.set('visit', 'x')
    if ((await acme.get('visit')) !== 'x') throw new Error('it should be a hit')
    if (plan.close) await cache.close()
    process.stdout.write(`done ${Date.now()}\n`)
  },
  /** Shows what a first write and a first read do here. */
  async probe() {
    const outcome = async (step) => step().then((value) => value ?? 'miss', (error) => error.code)
    process.stdout.write(`set ${await outcome(() => acme.set('probe', 'new').then(() => 'done'))}\n`)
    process.stdout.write(`get ${await outcome(() => acme.get('there'))}\n`)
    await cache.close()
  },
}
await works[work]()
