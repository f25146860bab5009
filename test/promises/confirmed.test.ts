import { describe, expect, test } from '@jest/globals'
import { withRig, type Rig } from '../support/rig.js'

/** Everything that the rig's logger was told. */
function lines(): { logger: { info: (line: string) => void; warn: (line: string) => void }; said: string[] } {
  const said: string[] = []
  return { said, logger: { info: (line) => void said.push(line), warn: (line) => void said.push(line) } }
}

const verbs = {
  set: (rig: Rig) => rig.acme.set('k', 2, { confirmed: true }),
  setMany: (rig: Rig) => rig.acme.setMany([['k', 2]], { confirmed: true }),
  setStream: (rig: Rig) => rig.acme.setStream('k', [Buffer.from('2')], { confirmed: true }),
  delete: (rig: Rig) => rig.acme.delete('k', { confirmed: true }),
  deleteMany: (rig: Rig) => rig.acme.deleteMany(['k'], { confirmed: true }),
  clear: (rig: Rig) => rig.acme.clear('k', { confirmed: true }),
  'delete on the manager': (rig: Rig) => rig.cache.delete('k', { tenant: 'acme', confirmed: true }),
  'clear on the manager': (rig: Rig) => rig.cache.clear(undefined, { tenant: 'acme', confirmed: true }),
}

describe('a verb that is confirmed', () => {
  test.each(Object.entries(verbs))('%s waits until a tier that was away has done it', (_name, verb) =>
    withRig('memory and fs', {}, async (rig) => {
      const warm = rig.faultsOf('warm')
      await rig.acme.set('k', 1)
      warm.inject({ fail: 'unavailable' })
      let isDone = false
      const done = (verb(rig) as Promise<unknown>).finally(() => (isDone = true))
      done.catch(() => undefined)
      await rig.clock.advance(10_000)
      expect(isDone).toBe(false)
      warm.heal()
      await rig.pass(done, 100)
      expect((await rig.cache.stats()).tiers['warm']?.pendingInvalidations).toBe(0)
      expect(await rig.acme.get('k', { tiers: { hot: false } })).toBeUndefined()
    }))

  test.each(Object.entries(verbs))('%s rejects when the tier stays away; what was recorded stays so', (_name, verb) =>
    withRig('memory and fs', {}, async (rig) => {
      await rig.acme.set('k', 1)
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      await expect(rig.pass(verb(rig) as Promise<unknown>, 1000)).rejects.toMatchObject({ code: 'not-confirmed', tenant: 'acme', message: expect.stringContaining('warm') })
      expect((await rig.cache.stats()).tiers['warm']?.pendingInvalidations).toBe(1)
    }))

  test('costs nothing where all is well, and leaves at once when its signal fires', () =>
    withRig('memory and fs', {}, async (rig) => {
      await rig.acme.set('k', 1, { confirmed: true })
      expect(await rig.acme.delete('k', { confirmed: true })).toBe(true)
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      const leaving = new AbortController()
      const done = rig.acme.delete('k', { confirmed: true, signal: leaving.signal })
      done.catch(() => undefined)
      await rig.clock.advance(1000)
      const reason = new Error('enough')
      leaving.abort(reason)
      await expect(done).rejects.toBe(reason)
    }))
})

describe('flush and close say what they could not finish', () => {
  test('what tiers owe, in the result and in the log', () => {
    const { logger, said } = lines()
    return withRig('memory and fs', { logger }, async (rig) => {
      await rig.acme.set('k', 1)
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      await rig.acme.clear()
      expect(await rig.pass(rig.cache.flush({ deadline: '1s' }), 100)).toEqual({ pending: 0, owed: 1 })
      await expect(rig.pass(rig.cache.flush({ deadline: '1s', confirmed: true }), 100)).rejects.toMatchObject({ code: 'not-confirmed' })
      expect(await rig.pass(rig.cache.close())).toEqual({ pending: 0, owed: 1 })
      expect(said.filter((line) => line.includes('owe 1 invalidation'))).toHaveLength(1)
      await expect(rig.cache.close({ confirmed: true })).rejects.toMatchObject({ code: 'not-confirmed' })
    })
  })

  test('a clear while the tier hangs', () => {
    const { logger, said } = lines()
    return withRig('memory and fs', { logger }, async (rig) => {
      await rig.acme.set('k', 1)
      rig.faultsOf('warm').inject('hang')
      await rig.pass(rig.acme.clear())
      const { owed } = await rig.pass(rig.cache.close())
      expect(owed).toBeGreaterThanOrEqual(1)
      expect(said.some((line) => line.includes('still owe'))).toBe(true)
    })
  })

  test('nothing, once the tier is back', () =>
    withRig('memory and fs', {}, async (rig) => {
      await rig.acme.set('k', 1)
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      await rig.acme.delete('k')
      rig.faultsOf('warm').heal()
      expect(await rig.pass(rig.cache.flush({ confirmed: true }), 100)).toEqual({ pending: 0, owed: 0 })
      expect(await rig.pass(rig.cache.close({ confirmed: true }), 100)).toEqual({ pending: 0, owed: 0 })
    }))
})

describe('close and what is computed', () => {
  test('it waits for a compute, whose value is stored', () =>
    withRig('memory and fs', {}, async (rig) => {
      const value = rig.acme.getOrCompute('k', () => new Promise((resolve) => void rig.clock.schedule(1000, () => resolve('made'))))
      await rig.clock.settle()
      const closing = rig.cache.close()
      await rig.pass(closing, 100)
      expect(await value).toBe('made')
      const again = new (await import('@thermocline/fs')).FileSystemBackend({ basePath: rig.basePath })
      const { TieredCacheManager } = await import('@thermocline/core')
      const next = new TieredCacheManager({ tiers: { warm: { backend: again } }, logger: false })
      expect(await next.tenant('acme').get('k')).toBe('made')
      await next.close()
    }))

  test('at its deadline it aborts the signal of what does not end', () =>
    withRig('memory and fs', {}, async (rig) => {
      const signals: AbortSignal[] = []
      const value = rig.acme.getOrCompute('k', ({ signal }) => {
        signals.push(signal)
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      })
      const stream = rig.acme.getOrComputeStream('s', ({ signal }) => {
        signals.push(signal)
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      })
      for (const call of [value, stream]) call.catch(() => undefined)
      await rig.clock.settle()
      const closing = rig.cache.close({ deadline: '1s' })
      await rig.clock.advance(900)
      expect(signals.map(({ aborted }) => aborted)).toEqual([false, false])
      await rig.pass(closing, 100)
      expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
      await expect(value).rejects.toMatchObject({ code: 'closed' })
      await expect(stream).rejects.toMatchObject({ code: 'closed' })
    }))
})
