import { afterEach, describe, expect, test } from '@jest/globals'
import { trace } from '@opentelemetry/api'
import { STACKS, withRig } from '../support/rig.js'
import { Sdk, unregister } from './sdk.js'

afterEach(unregister)

/** Where core looks to see, without asking the API, whether anything is registered. */
const API_GLOBAL = Symbol.for('opentelemetry.js.api.1')
const registrations = (): Record<string, unknown> | undefined => (globalThis as { [API_GLOBAL]?: Record<string, unknown> })[API_GLOBAL]

describe('without an SDK', () => {
  test.each(STACKS)('every verb works and nothing is recorded, on %s', (stack) =>
    withRig(stack, { telemetry: { spans: 'all', tenantAttribute: true } }, async ({ acme, cache }) => {
      await acme.getOrCompute('k', () => {
        expect(trace.getActiveSpan()?.isRecording() ?? false).toBe(false)
        return 1
      })
      await acme.set('s', 1)
      expect(await acme.get('k')).toBe(1)
      await expect(acme.getOrCompute('x', () => Promise.reject(new Error('own')))).rejects.toThrow('own')
      expect(await cache.stats()).toMatchObject({ hits: 1, misses: 2 })
    }),
  )
})

describe('the OpenTelemetry API', () => {
  test('keeps its registrations where the hot path looks for them', async () => {
    const before = registrations()
    expect(before?.trace).toBeUndefined()
    const sdk = new Sdk()
    await sdk.register()
    expect(registrations()).toMatchObject({ trace: expect.anything(), metrics: sdk.meterProvider, context: expect.anything() })
  })

  test('taken back, leaves a cache that goes on working', () =>
    withRig('memory', {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await sdk.inRequest(() => acme.getOrCompute('k', () => 1))
      await unregister()
      expect(await acme.get('k')).toBe(1)
      expect(await acme.getOrCompute('other', () => 2)).toBe(2)
    }))
})
