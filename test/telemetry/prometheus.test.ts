import { afterEach, describe, expect, test } from '@jest/globals'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { MemoryBackend } from '@thermocline/memory'
import { withRig } from '../support/rig.js'
import { Sdk, unregister } from './sdk.js'

afterEach(unregister)

/** What a scrape of the exporter's endpoint answers. */
async function scrape(exporter: PrometheusExporter): Promise<string> {
  const server = createServer((request, response) => exporter.getMetricsRequestHandler(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`)
    return await response.text()
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

describe('a Prometheus exporter', () => {
  test('shows the counters under the names that dashboards and alert rules use', () =>
    withRig('memory and fs', { tier: { hot: { backend: new MemoryBackend({ maxEntries: 1 }) } } }, async (rig) => {
      const exporter = new PrometheusExporter({ preventServerStart: true })
      const sdk = new Sdk(exporter)
      await sdk.register()
      const { acme } = rig
      await acme.getOrCompute('a', () => 1)
      await acme.getOrCompute('b', () => 2)
      await acme.get('b')
      await acme.get('a')
      rig.faultsOf('warm').inject({ fail: 'failed' }, 'get')
      await rig.pass(acme.get('c'))
      const text = await scrape(exporter)
      for (const name of ['cache_hits_total', 'cache_misses_total', 'cache_evictions_total', 'cache_errors_total', 'cache_promotions_total']) {
        expect(text).toMatch(new RegExp(`^# TYPE ${name} counter$`, 'm'))
        expect(text).toMatch(new RegExp(`^${name}\\{[^}]*tier="(hot|warm)"[^}]*\\} [1-9]`, 'm'))
      }
      expect(text).toMatch(/^# TYPE cache_latency(_seconds)? histogram$/m)
      expect(text).toMatch(/^cache_entries\{[^}]*tier="hot"[^}]*\} 1( |$)/m)
      await exporter.shutdown()
    }))
})
