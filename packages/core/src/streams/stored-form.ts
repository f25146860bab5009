import type { PayloadStep } from '../codec/payload-step.js'
import { through } from '../codec/payloads.js'
import type { Operation } from '../operation/operation.js'
import { SharedStream, type Reader } from './shared-stream.js'

/** What tells whether a step is worth it for a stream, whose end is not known. */
const SAMPLE_BYTES = 64 * 1024

/** A stream as tiers store it. */
export interface StoredForm {
  readonly stream: SharedStream
  readonly codec: string
}

/**
 * The stream as it is to be stored: itself, or packed once for all tiers. A step that may be left out is, for a stream that is shorter than it wants, or
 * whose first 64 KiB do not shrink.
 *
 * @param reader of the stream, for the tiers; `undefined`: the policy has no steps
 */
export async function storedForm(operation: Operation, stream: SharedStream, reader: Reader | undefined): Promise<StoredForm> {
  const { engine: { clock, payloads }, plan: { policy: { steps } }, place } = operation
  if (reader === undefined) return { stream, codec: 'buffer' }
  const { head, isWhole } = await beginningOf(reader, steps)
  const sample = { codec: 'buffer', bytes: head.length === 1 ? (head[0] as Uint8Array) : Buffer.concat(head) }
  const taken: PayloadStep[] = []
  for (const step of steps) {
    const { optionalFrom } = step
    if (optionalFrom === undefined || (await payloads.pack(sample, [step], place)) !== sample) taken.push(step)
  }
  const whole = joined(head, isWhole ? undefined : reader)
  if (taken.length === 0) return { stream: new SharedStream(whole, { clock }), codec: sample.codec }
  const packed = through(whole, taken.map((step) => step.applying(place))) as AsyncIterable<Uint8Array>
  return { stream: new SharedStream(packed, { clock }), codec: [sample.codec, ...taken.map(({ id }) => id)].join('+') }
}

/** As much as the steps that may be left out need to know. */
async function beginningOf(reader: Reader, steps: readonly PayloadStep[]): Promise<{ readonly head: readonly Uint8Array[]; readonly isWhole: boolean }> {
  const optional = steps.flatMap(({ optionalFrom }) => optionalFrom ?? [])
  const wanted = optional.length === 0 ? 0 : Math.max(SAMPLE_BYTES, ...optional)
  const head: Uint8Array[] = []
  let bytes = 0
  while (bytes < wanted) {
    const step = await reader.next()
    if (step.done === true) return { head, isWhole: true }
    head.push(step.value)
    bytes += step.value.byteLength
  }
  return { head, isWhole: false }
}

async function* joined(head: readonly Uint8Array[], reader: Reader | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* head
    if (reader !== undefined) yield* reader
  } finally {
    await reader?.return()
  }
}
