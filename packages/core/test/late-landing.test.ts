import { describe, expect, test } from '@jest/globals'
import { CacheError } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { ManualClock, watch } from './support/manual-clock.js'
import { ScriptedBackend, type Operation } from './support/scripted-backend.js'

const LATE_MS = 60_000

/** A store that is asked to put and does not answer; what it may still do is said by the adapter. */
function unanswered(how: 'reset' | 'left'): { clock: ManualClock; store: ScriptedBackend; cache: TieredCacheManager; acme: TenantCache } {
  const clock = new ManualClock()
  const store = new ScriptedBackend()
  const error = (operation: Operation): CacheError => new CacheError('unavailable', 'no answer', { operation, retryable: true, landsWithinMs: LATE_MS })
  let isFirst = true
  store.answer = (operation, { signal }) => {
    if (operation === 'put' && !isFirst) return Promise.resolve(true)
    if (operation === 'put') isFirst = false
    if (operation !== 'put') return Promise.resolve(operation === 'delete' ? 1 : undefined)
    if (how === 'reset') return Promise.reject(error(operation))
    return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(error(operation))))
  }
  const cache = new TieredCacheManager({ tiers: { cold: { backend: store, budget: '1s' } }, clock, logger: false })
  return { clock, store, cache, acme: cache.tenant('acme') }
}

describe.each(['reset', 'left'] as const)('a put that was sent and not answered (%s)', (how) => {
  const verbs = {
    set: (acme: TenantCache) => acme.set('k', 1),
    getOrCompute: (acme: TenantCache) => acme.getOrCompute('k', () => 1),
    setMany: (acme: TenantCache) => acme.setMany([['k', 1]]),
  }
  test.each(Object.entries(verbs))('of a %s keeps its key in doubt for as long as it may still be carried out', async (_name, verb) => {
    const { clock, store, cache, acme } = unanswered(how)
    const seen = watch(verb(acme))
    await clock.advance(how === 'reset' ? 100 : 1000) // before the first probe
    expect(seen.outcome).not.toBe('waiting')
    expect(store.calls.filter((call) => call === 'put')).toHaveLength(1) // not again: it might be carried out twice, the second time late
    const deleted = watch(acme.delete('k'))
    await clock.advance(5000) // the tier is back in use
    expect(deleted.outcome).not.toBe('waiting')
    store.calls.length = 0
    expect(await acme.get('k')).toBeUndefined()
    expect(store.calls).not.toContain('get')
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 1, pendingInvalidations: 1 })
    await clock.advance(LATE_MS)
    expect(store.calls).toContain('delete')
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 0, pendingInvalidations: 0 })
    await cache.close()
  })
})
