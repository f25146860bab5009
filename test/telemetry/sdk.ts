import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, MetricReader, type DataPoint, type Histogram } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-node'

/** Collects when asked. */
class OnDemandReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve()
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve()
  }
}

export interface Point {
  readonly value: number
  readonly attributes: Readonly<Record<string, unknown>>
}

/** The OpenTelemetry SDK as an application sets it up, with everything kept for the test to look at. */
export class Sdk {
  readonly exporter = new InMemorySpanExporter()
  readonly tracerProvider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.exporter)] })
  readonly meterProvider: MeterProvider
  readonly tracer = this.tracerProvider.getTracer('application')
  readonly #reader = new OnDemandReader()

  constructor(...readers: MetricReader[]) {
    this.meterProvider = new MeterProvider({ readers: [this.#reader, ...readers] })
  }

  /** Makes it the process's, and lets the turn of the event loop end, as between start-up and the first request. */
  async register(): Promise<void> {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(this.tracerProvider)
    metrics.setGlobalMeterProvider(this.meterProvider)
    await nextTurn()
  }

  /** The ended spans of that name, in the order they began. */
  spans(name: string): ReadableSpan[] {
    return this.exporter.getFinishedSpans().filter((span) => span.name === name)
  }

  /** Runs inside a recording span `request`. */
  async inRequest<T>(run: () => Promise<T>): Promise<T> {
    return this.tracer.startActiveSpan('request', async (span) => {
      try {
        return await run()
      } finally {
        span.end()
      }
    })
  }

  /** The current points of a metric: values of counters and gauges. */
  async points(name: string): Promise<Point[]> {
    return (await this.#pointsOf<number>(name)).map(({ value, attributes }) => ({ value, attributes }))
  }

  async histograms(name: string): Promise<DataPoint<Histogram>[]> {
    return this.#pointsOf<Histogram>(name)
  }

  /** Names of all metrics that have a point, with the attribute names used. */
  async collected(): Promise<Map<string, Set<string>>> {
    const { resourceMetrics } = await this.#reader.collect()
    const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    return new Map(all.map((metric) => [metric.descriptor.name, new Set(metric.dataPoints.flatMap((point) => Object.keys(point.attributes)))]))
  }

  async unitOf(name: string): Promise<string | undefined> {
    const { resourceMetrics } = await this.#reader.collect()
    return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics).find((metric) => metric.descriptor.name === name)?.descriptor.unit
  }

  async #pointsOf<T>(name: string): Promise<DataPoint<T>[]> {
    const { resourceMetrics, errors } = await this.#reader.collect()
    if (errors.length > 0) throw errors[0] as Error
    const metric = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics).find(({ descriptor }) => descriptor.name === name)
    return (metric?.dataPoints ?? []) as DataPoint<T>[]
  }
}

/** Takes back whatever was registered, for the next test. */
export async function unregister(): Promise<void> {
  trace.disable()
  metrics.disable()
  context.disable()
  await nextTurn()
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}
