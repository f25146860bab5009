import { kindOf, ttlMs, type Metadata } from '@thermocline/backend'
import { validateTags } from '../flights/compute-context.js'
import type { Plan } from '../policies/policy.js'
import type { SetOptions } from './options.js'

/** What a call says about the entry to be stored. @throws TypeError that names the option */
export function writeOptions(options: SetOptions, ...plans: readonly Plan[]): WriteWishes {
  return {
    ttlMs: ttlMs(options.ttl, 'ttl'),
    tags: options.tags === undefined ? undefined : validateTags(options.tags, 'tags'),
    metadata: options.metadata === undefined ? undefined : checkMetadata(options.metadata, plans),
  }
}

interface WriteWishes {
  readonly ttlMs: number | undefined
  readonly tags: readonly string[] | undefined
  readonly metadata: Metadata | undefined
}

const MAX_METADATA_BYTES = 64 * 1024

function checkMetadata(metadata: Metadata, plans: readonly Plan[]): Metadata {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) throw new TypeError(`metadata must be an object of strings, not ${kindOf(metadata)}`)
  let bytes = 0
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw new TypeError(`metadata.${name} must be a string, not ${kindOf(value)}`)
    if (!name.isWellFormed() || !value.isWellFormed()) throw new TypeError(`metadata.${name} must be well-formed Unicode`)
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
  }
  for (const { tier } of new Set(plans.flatMap(({ slots }) => slots))) {
    const most = tier.capabilities.plain?.maxMetadataBytes
    if (most !== undefined && bytes > most) {
      throw new TypeError(`metadata must be at most ${most} bytes where the tier ${tier.name} (${tier.backend.name}) is used, this is ${bytes}: names and values together, as UTF-8`)
    }
  }
  if (bytes > MAX_METADATA_BYTES) throw new TypeError(`metadata must be at most ${MAX_METADATA_BYTES} bytes, this is ${bytes}`)
  return metadata
}

/** @throws TypeError unless the value can be iterated over */
export function iterable<T>(value: Iterable<T>, option: string): Iterable<T> {
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) return value
  throw new TypeError(`${option} must be an array or another iterable, not ${kindOf(value)}`)
}


/** @throws TypeError unless it is an AbortSignal or absent */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || (typeof signal === 'object' && signal !== null && typeof (signal as Partial<AbortSignal>).throwIfAborted === 'function')) return
  const hint = typeof signal === 'object' && signal !== null && 'abort' in signal ? ', not an AbortController: pass controller.signal' : `, not ${kindOf(signal)}`
  throw new TypeError(`signal must be an AbortSignal${hint}`)
}
