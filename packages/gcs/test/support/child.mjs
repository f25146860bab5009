/*
 * A process that uses the cache as an application would. It runs the built packages: what has to exit is what is published.
 *
 *   node child.mjs '{"work":"visit","gcs":{"bucket":"artifacts"}, ...}'
 */
import { TieredCacheManager } from '@thermocline/core'
import { GcsBackend } from '@thermocline/gcs'

const { work, gcs, close } = JSON.parse(process.argv[2])
const cache = new TieredCacheManager({ tiers: { cold: { backend: new GcsBackend(gcs), budget: '1s' } }, logger: false })
const acme = cache.tenant('acme')

async function end() {
  const startedAt = Date.now()
  if (close) await cache.close()
  process.stdout.write(`done ${Date.now()} closing took ${Date.now() - startedAt} ms\n`)
}

const works = {
  /** Uses the cache and then has nothing left to do. */
  async visit() {
    await Promise.all(Array.from({ length: 40 }, (_, i) => acme.set(`visit/${i}`, 'x')))
    if ((await acme.get('visit/1')) !== 'x') throw new Error('it should be a hit')
    await acme.clear('visit/')
    await end()
  },
  /** Leaves streams behind: one unread, one half read. */
  async forgetful() {
    await acme.set('large', Buffer.alloc(3_000_000))
    await acme.getStream('large')
    for await (const _ of (await acme.getStream('large')) ?? []) break
    await end()
  },
  /** Nobody answers. */
  async alone() {
    await Promise.allSettled([acme.set('visit', 'y'), acme.getOrCompute('other', () => 1), acme.delete('third'), acme.clear()])
    await end()
  },
}
await works[work]()
