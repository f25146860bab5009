import { CacheEntry, type EpochMs } from '@thermocline/backend'

/** An entry as memory keeps it: the live value, and what eviction needs to know. */
export class MemoryEntry extends CacheEntry {
  /** The backend's tick at its last use: compares recency across tenants. */
  usedAt: number

  constructor(value: unknown, entry: CacheEntry, keepUntil: EpochMs, usedAt: number) {
    super(value, undefined, entry, keepUntil < entry.expiresAt ? { ...entry.details, keepUntil } : entry.details)
    this.usedAt = usedAt
  }
}
