import { validateKey, validatePrefix, validateTenant, type InvalidationRecord } from '@thermocline/backend'
import { linesNow } from './lines-now.js'

/** What a file of records holds. */
export interface Replayed {
  /** Those added and not removed, by their lines. */
  readonly records: ReadonlyMap<string, InvalidationRecord>
  /** Whether every line is one that this release writes, or what a write that broke off leaves. Others may be a newer release's. */
  readonly isUnderstood: boolean
}

/** Reads a file of records, whatever it holds. Throws the file system's error when it cannot be read. */
export function replay(file: string): Replayed {
  const records = new Map<string, InvalidationRecord>()
  let isUnderstood = true
  for (const text of linesNow(file)) {
    const line = text.slice(1)
    const sign = text[0]
    const known = sign === '+' || sign === '-' ? parse(line) : undefined
    if (known?.record === undefined) {
      isUnderstood &&= known?.isBroken === true
      continue
    }
    const { record } = known
    if (sign === '+') records.set(lineOf(record), record)
    else records.delete(lineOf(record))
  }
  return { records, isUnderstood }
}

/** One spelling per record, so that it can be found again. */
export function lineOf({ tier, tenant, key, prefix, mayLand }: InvalidationRecord): string {
  const what = key === undefined ? { prefix } : { key }
  return JSON.stringify({ tier, tenant, ...what, ...(mayLand === true ? { mayLand } : {}) })
}

/** The record of a line, if it is one. `isBroken`: it is not even JSON, as where a write broke off and the next one followed. */
function parse(line: string): { readonly record: InvalidationRecord | undefined; readonly isBroken: boolean } {
  try {
    return { record: recordOf(JSON.parse(line)), isBroken: false }
  } catch {
    return { record: undefined, isBroken: true }
  }
}

function recordOf(parsed: unknown): InvalidationRecord | undefined {
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { tier, tenant, key, prefix, mayLand } = parsed as Partial<Record<keyof InvalidationRecord, unknown>>
  if (typeof tier !== 'string' || (key === undefined) === (prefix === undefined)) return undefined
  try {
    validateTenant(tenant)
    if (key === undefined) return { tier, tenant: tenant as string, prefix: validatePrefix(prefix) }
    return { tier, tenant: tenant as string, key: validateKey(key), ...(mayLand === true ? { mayLand } : {}) }
  } catch {
    return undefined
  }
}
