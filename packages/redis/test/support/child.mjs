/*
 * A process that uses the cache as an application would. It runs the built packages: what has to exit is what is published.
 *
 *   node child.mjs '{"work":"visit","redis":{"url":"redis://localhost"}, ...}'
 */
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend } from '@thermocline/redis'

const { work, redis, close } = JSON.parse(process.argv[2])
const cache = new TieredCacheManager({ tiers: { hot: { backend: new RedisBackend(redis) } }, logger: false })
const acme = cache.tenant('acme')

async function end() {
  const startedAt = Date.now()
  if (close) await cache.close()
  process.stdout.write(`done ${Date.now()} closing took ${Date.now() - startedAt} ms\n`)
}

const works = {
  /** Uses the cache and then has nothing left to do. */
  async visit() {
    await acme.set('visit', 'x')
    await acme.set('large', Buffer.alloc(300_000))
    if ((await acme.get('visit')) !== 'x') throw new Error('it should be a hit')
    await end()
  },
  /** The same, but the server stops in between, when it is told to. */
  async standstill() {
    await acme.set('visit', 'x')
    process.stdout.write('ready\n')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    await Promise.all([acme.set('visit', 'y'), acme.getOrCompute('other', () => 1), acme.delete('third')])
    await end()
    process.stdin.destroy()
  },
  /** Nobody answers. */
  async alone() {
    await Promise.all([acme.set('visit', 'y'), acme.getOrCompute('other', () => 1), acme.delete('third'), acme.clear()])
    await end()
  },
}
await works[work]()
