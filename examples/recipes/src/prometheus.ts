import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'

/** Call it once, at the start. */
export function serveMetrics(port: number, host = '127.0.0.1'): MeterProvider {
  const provider = new MeterProvider({ readers: [new PrometheusExporter({ host, port })] })
  metrics.setGlobalMeterProvider(provider)
  return provider
}
