import type { CacheEntry, TenantScope, ValidKey } from '@thermocline/backend'
import type { Read } from './reads.js'

/** Somebody who waits for an entry, and is told once. */
export interface EntryRead extends Read {
  readonly scope: TenantScope
  readonly key: ValidKey
  arrived(entry: CacheEntry | undefined): void
  failed(error: unknown): void
}

/** The functions of the promise that is being made. */
let resolve: (value: never) => void
let reject: (error: unknown) => void
function capture(resolveIt: (value: never) => void, rejectIt: (error: unknown) => void): void {
  resolve = resolveIt
  reject = rejectIt
}

/** The read of one entry. */
export class OneRead implements EntryRead {
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly name: string
  readonly entry: Promise<CacheEntry | undefined>
  readonly resumesCaller = true
  readonly arrived: (entry: CacheEntry | undefined) => void
  readonly failed: (error: unknown) => void

  constructor(scope: TenantScope, key: ValidKey, name: string) {
    this.scope = scope
    this.key = key
    this.name = name
    this.entry = new Promise(capture)
    this.arrived = resolve as (entry: CacheEntry | undefined) => void
    this.failed = reject
  }
}

/** The reads of many entries, of whom one promise tells. */
export class ManyReads {
  readonly scope: TenantScope
  readonly entries: Promise<readonly (CacheEntry | undefined)[]>
  readonly failed: (error: unknown) => void
  readonly #found: (CacheEntry | undefined)[]
  readonly #resolve: (entries: readonly (CacheEntry | undefined)[]) => void
  #missing: number

  constructor(scope: TenantScope, count: number) {
    this.scope = scope
    this.entries = new Promise(capture)
    this.#resolve = resolve as (entries: readonly (CacheEntry | undefined)[]) => void
    this.failed = reject
    this.#found = new Array<CacheEntry | undefined>(count)
    this.#missing = count
  }

  /** The read of the entry at that place. */
  read(key: ValidKey, name: string, at: number): EntryRead {
    return new PartOfMany(this, key, name, at)
  }

  arrived(at: number, entry: CacheEntry | undefined): void {
    this.#found[at] = entry
    if (--this.#missing === 0) this.#resolve(this.#found)
  }
}

class PartOfMany implements EntryRead {
  readonly key: ValidKey
  readonly name: string
  readonly resumesCaller = false
  readonly #many: ManyReads
  readonly #at: number

  constructor(many: ManyReads, key: ValidKey, name: string, at: number) {
    this.key = key
    this.name = name
    this.#many = many
    this.#at = at
  }

  get scope(): TenantScope {
    return this.#many.scope
  }

  arrived(entry: CacheEntry | undefined): void {
    this.#many.arrived(this.#at, entry)
  }

  failed(error: unknown): void {
    this.#many.failed(error)
  }
}
