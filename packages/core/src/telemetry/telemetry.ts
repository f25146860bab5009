import {
  context,
  INVALID_SPAN_CONTEXT,
  createNoopMeter,
  metrics,
  SpanStatusCode,
  trace,
  type Attributes,
  type Counter,
  type Histogram,
  type Meter,
  type MeterProvider,
  type ObservableResult,
  type Span,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api'
import { kindOf, KnownNames, messageOf, oncePerTurn, quietly } from '@thermocline/backend'
import { VERSION } from '../version.js'

const SCOPE = '@thermocline/core'

/**
 * Where every copy of the API, version 1, keeps what is registered. Asking the API itself costs 17 of a hot hit's 70 ns, so
 * what is registered is looked at once per turn of the event loop. A test fails when an API release moves it.
 */
const API_GLOBAL = Symbol.for('opentelemetry.js.api.1')

interface Registered {
  /** A context manager: without one no span is ever active. */
  readonly context?: unknown
  readonly metrics?: unknown
  readonly trace?: unknown
}

const NOTHING: Registered = {}
/** Stands for every span while no tracer is registered. */
export const NO_SPAN = trace.wrapSpanContext(INVALID_SPAN_CONTEXT)

function lookUp(): Registered {
  return (globalThis as { [API_GLOBAL]?: Registered })[API_GLOBAL] ?? NOTHING
}

const registered = oncePerTurn(lookUp)

/** How the cache shows itself through OpenTelemetry. */
export interface TelemetryOptions {
  /** Default: the globally registered one, looked up again until there is one. */
  readonly meterProvider?: MeterProvider | undefined
  /** Default: the globally registered one. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Adds `tenant` to the metrics' attributes. Default false: one time series per tenant is a cost to choose. */
  readonly tenantAttribute?: boolean | undefined
  /** `parented` (default): a synchronous hit makes a span only under a recording parent. `all`: always. */
  readonly spans?: 'parented' | 'all' | undefined
}

/** Where a read's answer came from. */
export interface ServedBy {
  readonly slot: { readonly tier: { readonly name: string } } | undefined
  /** Why it may be an old value; `undefined`: it is not. */
  readonly stale?: string | undefined
}

/** One line of a counter: a value and what it is about. */
export type Reading = readonly [value: number, attributes: Attributes]

/** Where the metrics are read from when somebody collects them. Counting itself calls nothing of OpenTelemetry. */
export interface MetricSources {
  readonly counters: Readonly<Record<'cache.hits' | 'cache.stale_hits' | 'cache.misses' | 'cache.refreshes' | 'cache.timeouts' | 'cache.promotions' | 'cache.evictions', () => Iterable<Reading>>>
  readonly gauges: Readonly<Record<'cache.entries' | 'cache.size', () => Promise<readonly Reading[]>>>
}

const DESCRIPTIONS = {
  'cache.hits': 'Reads answered by a tier',
  'cache.stale_hits': 'Reads answered with a value that was not fresh any more',
  'cache.refreshes': 'Values made anew in the background, by outcome',
  'cache.timeouts': 'Computes that outlived a soft or hard timeout',
  'cache.misses': 'Reads a tier was asked for and could not answer',
  'cache.promotions': 'Entries copied from a slower tier to a faster one',
  'cache.evictions': 'Entries a backend removed by itself',
  'cache.entries': 'Entries stored',
  'cache.size': 'Bytes stored',
} as const

/** Seconds; from a memory hit to an object store in trouble. */
const LATENCY_BUCKETS = [1e-6, 1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5]
const COMPUTE_BUCKETS = [1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

interface Instruments {
  readonly latency: Histogram
  readonly compute: Histogram
  readonly errors: Counter
}

/**
 * Spans and metrics, through the API only: without an SDK it costs nearly nothing. The API binds tracers late but not
 * meters, so the meter provider is looked up again until a real one is registered.
 */
export class Telemetry {
  readonly #tracer: Tracer | undefined
  readonly #tracerGiven: boolean
  readonly #sources: MetricSources
  readonly #given: MeterProvider | undefined
  #lookedAt: MeterProvider | undefined
  #instruments: Instruments | undefined
  #unbind: () => void = () => undefined
  /** False until a real meter provider is known, which is to be asked for with {@link bind}. */
  bound = false

  /** @throws TypeError for an option that is none */
  constructor(options: TelemetryOptions, sources: MetricSources) {
    checkOptions(options)
    this.#tracerGiven = options.tracerProvider !== undefined
    this.#tracer = quietly(() => (options.tracerProvider ?? trace).getTracer(SCOPE, VERSION), undefined)
    this.#sources = sources
    this.#given = options.meterProvider
    this.bind()
  }

  /** Looks for a meter provider; cheap when nothing has changed. */
  bind(): void {
    const provider = this.#given ?? metrics.getMeterProvider()
    if (this.bound || provider === this.#lookedAt) return
    this.#lookedAt = provider
    quietly(() => {
      const meter = provider.getMeter(SCOPE, VERSION)
      if (meter === createNoopMeter()) return
      this.#instrument(meter)
      this.bound = true
    }, undefined)
  }

  /** Whether a synchronous hit is to be a span. Finds a meter provider that was not there before on the way. */
  wantsHotHit(): boolean {
    const { context: manager, metrics: provider } = registered()
    if (!this.bound && provider !== undefined) this.bind()
    return manager !== undefined && isRecorded()
  }

  /** Begins the span of a read. To be ended with {@link endGet}. Where no hot hit looks for a meter provider, this does. */
  startGet(key: string, tenant: string, policy: string): Span {
    if (!this.bound) this.bind()
    if (!this.#tracerGiven && lookUp().trace === undefined) return NO_SPAN
    const attributes = { 'cache.key': key, 'cache.tenant': tenant, 'cache.policy': policy }
    return quietly(() => this.#tracer?.startSpan('cache.get', { attributes }), undefined) ?? NO_SPAN
  }

  /** @param served what was served; `undefined`: nothing was found */
  endGet(span: Span, served: ServedBy | undefined, failure?: { readonly error: unknown }): void {
    if (span === NO_SPAN) return
    quietly(() => {
      if (!span.isRecording()) return
      span.setAttribute('cache.hit', served?.slot?.tier.name ?? 'miss')
      if (served?.stale !== undefined) span.setAttribute('cache.stale', served.stale)
      if (failure !== undefined) fail(span, failure.error)
    }, undefined)
    quietly(() => span.end(), undefined)
  }

  /** Runs a compute inside a span `cache.compute` below the read's span, so that spans made by it hang there too. */
  compute<T>(parent: Span, run: () => T | Promise<T>): T | Promise<T> {
    return parent === NO_SPAN ? run() : this.#computeIn(parent, run)
  }

  async #computeIn<T>(parent: Span, run: () => T | Promise<T>): Promise<T> {
    const around = quietly(() => trace.setSpan(context.active(), parent), undefined)
    const span = around === undefined ? undefined : quietly(() => this.#tracer?.startSpan('cache.compute', {}, around), undefined)
    let outcome: Promise<T> | undefined
    const once = (): Promise<T> => (outcome ??= (async () => run())())
    if (around !== undefined && span !== undefined) quietly<unknown>(() => context.with(trace.setSpan(around, span), once), undefined)
    try {
      return await once() // begun already, unless the context manager could not
    } catch (error) {
      if (span !== undefined) quietly(() => fail(span, error), undefined)
      throw error
    } finally {
      quietly(() => span?.end(), undefined)
    }
  }

  recordLatency(attributes: Attributes, ms: number): void {
    quietly(() => this.#instruments?.latency.record(ms / 1000, attributes), undefined)
  }

  recordCompute(attributes: Attributes, ms: number): void {
    quietly(() => this.#instruments?.compute.record(ms / 1000, attributes), undefined)
  }

  recordError(attributes: Attributes): void {
    if (!this.bound) this.bind()
    quietly(() => this.#instruments?.errors.add(1, attributes), undefined)
  }

  /** Stops being read by meters. */
  close(): void {
    this.#unbind()
  }

  #instrument(meter: Meter): void {
    this.#instruments = {
      latency: meter.createHistogram('cache.latency', { description: 'Duration of tier operations', unit: 's', advice: { explicitBucketBoundaries: LATENCY_BUCKETS } }),
      compute: meter.createHistogram('cache.compute.duration', { description: 'Duration of computes', unit: 's', advice: { explicitBucketBoundaries: COMPUTE_BUCKETS } }),
      errors: meter.createCounter('cache.errors', { description: 'Failures by tier, operation and reason' }),
    }
    const undo: (() => void)[] = []
    for (const [name, read] of Object.entries(this.#sources.counters)) {
      const counter = meter.createObservableCounter(name, { description: DESCRIPTIONS[name as keyof typeof DESCRIPTIONS] })
      const observe = (result: ObservableResult): void => {
        for (const [value, attributes] of read()) result.observe(value, attributes)
      }
      counter.addCallback(observe)
      undo.push(() => counter.removeCallback(observe))
    }
    for (const [name, read] of Object.entries(this.#sources.gauges)) {
      const gauge = meter.createObservableGauge(name, { description: DESCRIPTIONS[name as keyof typeof DESCRIPTIONS], ...(name === 'cache.size' ? { unit: 'By' } : {}) })
      const observe = async (result: ObservableResult): Promise<void> => {
        for (const [value, attributes] of await read()) result.observe(value, attributes)
      }
      gauge.addCallback(observe)
      undo.push(() => gauge.removeCallback(observe))
    }
    this.#unbind = () => {
      for (const step of undo) quietly(step, undefined)
    }
  }
}

const OPTIONS = new KnownNames(Object.keys({ meterProvider: true, tracerProvider: true, tenantAttribute: true, spans: true } satisfies Readonly<Record<keyof TelemetryOptions, true>>))

function checkOptions(options: TelemetryOptions): void {
  if (typeof options !== 'object' || options === null) throw new TypeError(`telemetry must be an object, not ${kindOf(options)}`)
  OPTIONS.check(options, 'telemetry')
  const { meterProvider, tracerProvider, tenantAttribute, spans } = options
  if (tenantAttribute !== undefined && typeof tenantAttribute !== 'boolean') throw new TypeError(`telemetry.tenantAttribute must be true or false, not ${kindOf(tenantAttribute)}`)
  if (meterProvider !== undefined && typeof meterProvider?.getMeter !== 'function') throw new TypeError(`telemetry.meterProvider must be a MeterProvider, not ${kindOf(meterProvider)}`)
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== 'function') throw new TypeError(`telemetry.tracerProvider must be a TracerProvider, not ${kindOf(tracerProvider)}`)
  if (spans !== undefined && spans !== 'parented' && spans !== 'all') throw new TypeError(`telemetry.spans must be 'parented' or 'all', not ${kindOf(spans)}`)
}

/** Whether there is a span now, and somebody keeps it. */
function isRecorded(): boolean {
  try {
    return trace.getActiveSpan()?.isRecording() === true
  } catch {
    return false
  }
}

function fail(span: Span, error: unknown): void {
  span.recordException(error instanceof Error ? error : messageOf(error))
  span.setStatus({ code: SpanStatusCode.ERROR })
}
