import { describe, expect, test } from '@jest/globals'
import { deferred, STACKS, withRig } from '../support/rig.js'

describe.each(STACKS)('promise 4, on %s', (stack) => {
  test('a thousand callers of one cold key share one compute', () =>
    withRig(stack, {}, async ({ acme, cache, clock }) => {
      let computes = 0
      const gate = deferred()
      const calls = Array.from({ length: 1000 }, () =>
        acme.getOrCompute('k', async () => {
          computes++
          await gate.promise
          return 'value'
        }),
      )
      await clock.settle()
      gate.resolve()
      expect(new Set(await Promise.all(calls))).toEqual(new Set(['value']))
      expect(computes).toBe(1)
      const stats = await cache.stats()
      expect(stats.policies.default).toMatchObject({ computes: 1, coalesced: 999 })
      expect(stats.hits + stats.misses).toBe(1000)
    }))

  test('they share one error, unwrapped, which is not cached', () =>
    withRig(stack, {}, async ({ acme }) => {
      const failure: unknown = { not: 'even an Error' }
      let computes = 0
      const fail = (): Promise<never> => {
        computes++
        return Promise.reject(failure)
      }
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => acme.getOrCompute('k', fail)))
      expect(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason === failure)).toBe(true)
      expect(computes).toBe(1)
      expect(await acme.getOrCompute('k', () => 'second try')).toBe('second try')
      const thrown = new Error('thrown synchronously')
      await expect(
        acme.getOrCompute('t', () => {
          throw thrown
        }),
      ).rejects.toBe(thrown)
    }))

  test('tenants do not share', () =>
    withRig(stack, {}, async ({ cache }) => {
      let computes = 0
      await Promise.all(['a', 'b', 'c'].map((tenant) => cache.tenant(tenant).getOrCompute('k', () => ++computes)))
      expect(computes).toBe(3)
    }))

  test("a caller's abort rejects that caller only, with its own reason", () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      const gate = deferred<string>()
      const controller = new AbortController()
      const impatient = acme.getOrCompute('k', () => gate.promise, { signal: controller.signal })
      const patient = acme.getOrCompute('k', () => 'never')
      await clock.settle()
      const reason = { why: 'tired' }
      controller.abort(reason)
      await expect(impatient).rejects.toBe(reason)
      gate.resolve('value')
      expect(await patient).toBe('value')
      expect(await acme.get('k')).toBe('value')
    }))

  test('when the last caller has left, the compute is told and its result is not stored', () =>
    withRig(stack, {}, async (rig) => {
      const { acme, clock } = rig
      const gate = deferred<string>()
      let signal: AbortSignal | undefined
      const controllers = [new AbortController(), new AbortController()]
      const calls = controllers.map(({ signal: own }) =>
        acme.getOrCompute(
          'k',
          (ctx) => {
            signal = ctx.signal
            return gate.promise
          },
          { signal: own },
        ),
      )
      await rig.until(() => signal !== undefined)
      controllers[0]?.abort()
      await clock.settle()
      expect(signal?.aborted).toBe(false)
      controllers[1]?.abort()
      await Promise.allSettled(calls)
      expect(signal?.aborted).toBe(true)
      const next = acme.getOrCompute('k', () => 'new flight')
      gate.resolve('left behind')
      expect(await next).toBe('new flight')
      expect(await acme.get('k')).toBe('new flight')
    }))

  test('an already aborted signal starts nothing', () =>
    withRig(stack, {}, async ({ acme }) => {
      let computes = 0
      const reason = new Error('before it began')
      await expect(acme.getOrCompute('k', () => ++computes, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
      expect(computes).toBe(0)
    }))

  test('many callers share one signal without a warning', () =>
    withRig(stack, {}, async ({ acme }) => {
      const warnings: string[] = []
      const listen = (warning: Error): void => void warnings.push(warning.name)
      process.on('warning', listen)
      const { signal } = new AbortController()
      await Promise.all(Array.from({ length: 50 }, (_, i) => acme.getOrCompute(`k${i % 3}`, () => i, { signal })))
      await new Promise((resolve) => setTimeout(resolve, 5))
      process.off('warning', listen)
      expect(warnings).toEqual([])
    }))

  test('the compute chooses its ttl, tags, or not to be cached', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.getOrCompute('ttl', ({ setTtl, addTags, key, tenant }) => {
        setTtl(5)
        addTags('a', 'b')
        return `${tenant}:${key}`
      })
      expect(await acme.lookup('ttl')).toEqual({ status: 'fresh', value: 'acme:ttl', tier: stack === 'fs' ? 'warm' : 'hot', createdAt: clock.now(), expiresAt: clock.now() + 5000, tags: ['a', 'b'] })
      await acme.getOrCompute('no', (ctx) => {
        ctx.doNotCache()
        return 1
      })
      expect(await acme.has('no')).toBe(false)
    }))

  test('a compute may ask for other keys, and for its own tenant again', () =>
    withRig(stack, {}, async ({ acme }) => {
      const outer = await acme.getOrCompute('outer', async () => `<${await acme.getOrCompute('inner', () => 'i')}>`)
      expect(outer).toBe('<i>')
      expect(await acme.get('inner')).toBe('i')
    }))
})
