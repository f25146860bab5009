import fs from 'node:fs'
import path from 'node:path'
import { expect } from '@jest/globals'
import { CacheEntry, NO_VALUE, validateKey, type JournalSlot, type WriteBackJournal } from '@thermocline/backend'
import { scopeOf, Shelf, type ShelfOptions } from './shelf.js'

const HOUR_MS = 3_600_000

/** A backend with a journal. */
export class Desk {
  readonly shelf: Shelf
  readonly directory: string
  readonly journal: WriteBackJournal
  readonly #given: string | undefined

  constructor(options: ShelfOptions & { directory?: string; maxPending?: number; maxPendingBytes?: number } = {}) {
    const { directory, maxPending = 1000, maxPendingBytes = 1e9, ...own } = options
    this.shelf = new Shelf(own)
    this.#given = directory
    this.directory = directory ?? path.join(this.shelf.root, 'journal')
    this.journal = this.shelf.backend.openJournal({ directory, maxBytes: maxPendingBytes, maxEntries: maxPending })
  }

  reserve(key: string, bytes = 100, expiresAt = this.shelf.clock.now() + HOUR_MS): JournalSlot {
    return this.journal.reserve({ tier: 'cold', tenant: 'acme', key: validateKey(key), expiresAt, bytes }) as JournalSlot
  }

  async put(key: string, bytes: Uint8Array | string): Promise<JournalSlot> {
    const slot = this.reserve(key, bytes.length)
    expect(await this.shelf.put(key, bytes, { journal: slot })).toBe(true)
    return slot
  }

  async store(slot: JournalSlot, bytes: Uint8Array | string): Promise<void> {
    const createdAt = this.shelf.clock.now()
    await this.journal.store(slot, scopeOf('acme'), new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: Buffer.from(bytes) }, { createdAt, expiresAt: createdAt + HOUR_MS }))
  }

  async read(slot: JournalSlot): Promise<string | undefined> {
    const entry = await this.journal.read(slot, 'payload')
    return entry?.encoded && Buffer.from(entry.encoded.bytes).toString()
  }

  /** The files of all processes. */
  get files(): string[] {
    return fs.existsSync(this.directory) ? (fs.readdirSync(this.directory, { recursive: true }) as string[]).filter((name) => name.endsWith('.tc')) : []
  }

  get file(): string {
    expect(this.files).toHaveLength(1)
    return path.join(this.directory, this.files[0] as string)
  }

  /** Lets go, and what the next one finds. */
  async next(): Promise<{ desk: Desk; slots: readonly JournalSlot[] }> {
    await this.journal.close()
    const desk = new Desk({ basePath: this.shelf.basePath, clock: this.shelf.clock, ...(this.#given === undefined ? {} : { directory: this.#given }) })
    return { desk, slots: desk.journal.load() }
  }
}
