import { GcsError, invalid } from './reply.js'

interface Versions {
  readonly generation: number
  readonly metageneration: number
}

/**
 * Checks the preconditions of a request against what is there now. From the reference of each method
 * (cloud.google.com/storage/docs/json_api/v1/objects): ifGenerationMatch=0 holds when there is no object; ifGenerationNotMatch fails when there
 * is none, so that 0 holds when there is one.
 *
 * A read whose *NotMatch condition does not hold is answered 304, everything else 412
 * (cloud.google.com/storage/docs/json_api/v1/status-codes).
 */
export function checkPreconditions(query: URLSearchParams, current: Versions | undefined, { prefix = 'if', isRead = false } = {}): void {
  const generation = current?.generation ?? 0
  const metageneration = current?.metageneration ?? 0
  const wanted = (name: string): number | undefined => numberIn(query, `${prefix}${name}`)
  const failed = new GcsError(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.', { locationType: 'header', location: 'If-Match' })
  const notModified = isRead ? new GcsError(304, 'notModified', 'Not Modified') : failed

  const generationMatch = wanted('GenerationMatch')
  if (generationMatch !== undefined && generationMatch !== generation) throw failed
  const metagenerationMatch = wanted('MetagenerationMatch')
  if (metagenerationMatch !== undefined && metagenerationMatch !== metageneration) throw failed
  const generationNotMatch = wanted('GenerationNotMatch')
  if (generationNotMatch !== undefined && (current === undefined || generationNotMatch === generation)) throw notModified
  const metagenerationNotMatch = wanted('MetagenerationNotMatch')
  if (metagenerationNotMatch !== undefined && (current === undefined || metagenerationNotMatch === metageneration)) throw notModified
}

function numberIn(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null) return undefined
  if (!/^\d+$/.test(text)) throw invalid(`Invalid value for: Invalid long value: '${text}'`)
  return Number(text)
}
