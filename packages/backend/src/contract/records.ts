/**
 * An invalidation that a tier could not take when it was called and still owes: one key, or everything under a prefix.
 * Until it is paid, the tier is not asked for what it covers.
 */
export interface InvalidationRecord {
  readonly tier: string
  readonly tenant: string
  /** The key to delete; absent in the record of a clear. */
  readonly key?: string | undefined
  /** The prefix to clear; absent in the record of a delete. */
  readonly prefix?: string | undefined
  /** Something on the key was under way when this was recorded, and may still land after the process has ended. */
  readonly mayLand?: boolean | undefined
}

/** Where records outlive the process. */
export interface RecordLog {
  /** What earlier processes left owing. Read once, before the first operation. */
  load(): readonly InvalidationRecord[]
  /** Resolves when the record would survive the process. */
  add(record: InvalidationRecord): Promise<void>
  /** Forgets a record that was paid. */
  remove(record: InvalidationRecord): void
  /** Resolves when nothing is left to write. */
  close(): Promise<void>
}

/** A separate contract for durable backends: the records of all tiers are kept beside its data. */
export interface RecordKeeper {
  openRecordLog(): RecordLog
}

export function isRecordKeeper(backend: object): backend is RecordKeeper {
  return typeof (backend as Partial<RecordKeeper>).openRecordLog === 'function'
}
