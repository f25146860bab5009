import { afterEach, describe, expect, test } from '@jest/globals'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import { deferred, STACKS, withRig } from '../support/rig.js'
import { Sdk, unregister } from './sdk.js'

afterEach(unregister)

const parentOf = (span: { parentSpanContext?: { spanId: string } } | undefined): string | undefined => span?.parentSpanContext?.spanId
const idOf = (span: { spanContext(): { spanId: string } } | undefined): string | undefined => span?.spanContext().spanId

describe.each(STACKS)('spans, on %s', (stack) => {
  test('a read is a span cache.get below the active one, with key, tenant, policy and where it was found', () =>
    withRig(stack, { policies: { docs: {} } }, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('docs/1', 'value')
      await sdk.inRequest(async () => {
        await acme.get('docs/1')
        await acme.get('nothing')
      })
      const [request] = sdk.spans('request')
      const gets = sdk.spans('cache.get')
      const tier = stack === 'fs' ? 'warm' : 'hot'
      expect(gets.map(({ attributes }) => attributes)).toEqual([
        { 'cache.key': 'docs/1', 'cache.tenant': 'acme', 'cache.policy': 'docs', 'cache.hit': tier },
        { 'cache.key': 'nothing', 'cache.tenant': 'acme', 'cache.policy': 'default', 'cache.hit': 'miss' },
      ])
      for (const span of gets) {
        expect(parentOf(span)).toBe(idOf(request))
        expect(span.instrumentationScope.name).toBe('@thermocline/core')
        expect(span.status.code).toBe(SpanStatusCode.UNSET)
      }
    }))

  test('a getMany is a cache.get for each of its keys, one after the other, each ended with where it was found', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('a', 1)
      await acme.set('c', 3)
      await sdk.inRequest(() => acme.getMany(['a', 'b', 'c']))
      const tier = stack === 'fs' ? 'warm' : 'hot'
      const gets = sdk.spans('cache.get').map(({ attributes }) => [attributes['cache.key'], attributes['cache.hit']])
      expect(gets).toEqual([['a', tier], ['b', 'miss'], ['c', tier]])
    }))

  test('a compute is a span cache.compute below its cache.get, and spans made by it hang below that', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await sdk.inRequest(() =>
        acme.getOrCompute('k', async () => {
          expect(trace.getActiveSpan()).toMatchObject({ name: 'cache.compute' })
          await Promise.resolve()
          sdk.tracer.startSpan('query').end()
          return 1
        }),
      )
      const [request, get, compute, query] = ['request', 'cache.get', 'cache.compute', 'query'].map((name) => sdk.spans(name)[0])
      expect(get?.attributes['cache.hit']).toBe('miss')
      expect(parentOf(query)).toBe(idOf(compute))
      expect(parentOf(compute)).toBe(idOf(get))
      expect(parentOf(get)).toBe(idOf(request))
    }))

  test('a getOrCompute that finds the value names the tier and computes nothing', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('k', 1)
      await sdk.inRequest(() => acme.getOrCompute('k', () => 2))
      expect(sdk.spans('cache.get').map(({ attributes }) => attributes['cache.hit'])).toEqual([stack === 'fs' ? 'warm' : 'hot'])
      expect(sdk.spans('cache.compute')).toEqual([])
    }))

  test('callers who join a flight have a cache.get of their own each; the compute is there once', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      const gate = deferred<number>()
      const callers = ['a', 'b', 'c'].map((name) =>
        sdk.tracer.startActiveSpan(name, async (span) => {
          await acme.getOrCompute('k', () => gate.promise)
          span.end()
        }),
      )
      gate.resolve(1)
      await Promise.all(callers)
      const parents = sdk.spans('cache.get').map(parentOf).sort()
      expect(parents).toEqual(['a', 'b', 'c'].map((name) => idOf(sdk.spans(name)[0])).sort())
      const [compute] = sdk.spans('cache.compute')
      expect(sdk.spans('cache.compute')).toHaveLength(1)
      expect(parentOf(sdk.spans('cache.get').find((span) => idOf(span) === parentOf(compute)))).toBe(idOf(sdk.spans('a')[0]))
    }))

  test('a compute that fails leaves its error on both spans', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      const failure = new Error('the model is down')
      await expect(acme.getOrCompute('k', () => Promise.reject(failure))).rejects.toBe(failure)
      await expect(acme.getOrCompute('k', () => {
        throw 'a string' as unknown
      })).rejects.toBe('a string')
      for (const name of ['cache.get', 'cache.compute']) {
        const spans = sdk.spans(name)
        expect(spans.map(({ status }) => status.code)).toEqual([SpanStatusCode.ERROR, SpanStatusCode.ERROR])
        expect(spans.map(({ events }) => events[0]?.attributes?.['exception.message'])).toEqual(['the model is down', 'a string'])
      }
    }))

  test('the hit of a tier that waits is a span without a parent too; that of memory only below a recording one', () =>
    withRig(stack, {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('k', 1)
      await acme.get('k')
      expect(sdk.spans('cache.get')).toHaveLength(stack === 'fs' ? 1 : 0)
      await sdk.inRequest(() => acme.get('k'))
      expect(sdk.spans('cache.get')).toHaveLength(stack === 'fs' ? 2 : 1)
    }))

  test("spans: 'all' makes one of every hit", () =>
    withRig(stack, { telemetry: { spans: 'all' } }, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('k', 1)
      await acme.get('k')
      await acme.getOrCompute('k', () => 2)
      expect(sdk.spans('cache.get').map(({ attributes }) => attributes['cache.hit'])).toEqual(Array(2).fill(stack === 'fs' ? 'warm' : 'hot'))
    }))

  test('a tracer provider given by option is used instead of the registered one', async () => {
    const given = new Sdk()
    const registered = new Sdk()
    await registered.register()
    await withRig(stack, { telemetry: { tracerProvider: given.tracerProvider } }, async ({ acme }) => {
      await acme.getOrCompute('k', () => 1)
    })
    expect(given.spans('cache.get')).toHaveLength(1)
    expect(given.spans('cache.compute')).toHaveLength(1)
    expect(registered.spans('cache.get')).toEqual([])
  })
})
