import fs from 'node:fs'
import { StreamedEntry, type BackendHost, type FrameHeader } from '@thermocline/backend'
import { openEntryStream } from './entry-stream.js'
import { isMissing } from './errors.js'
import { unlinkIfThere, type CloseFile } from './file-io.js'
import type { FileHosts } from './hosts.js'
import type { Temporaries } from './temporaries.js'

/** Files of evicted entries that are open at once; beyond, what is evicted is gone. */
const MOST_OPEN = 16

/** What an evicted file still gives, by who wants it. */
export type Offers = ReadonlyMap<BackendHost, StreamedEntry>

export interface DemotionHost {
  readonly temporaries: Temporaries
  readonly hosts: FileHosts
  readonly close: CloseFile
}

/** Lets managers that want it read an entry after it was evicted: from its file, which has no name any more. */
export class Demotion {
  readonly #host: DemotionHost
  #open = 0

  constructor(host: DemotionHost) {
    this.#host = host
  }

  /** Whether anybody wants an entry that is evicted for space, and may have it. */
  wants(header: FrameHeader | undefined): header is FrameHeader {
    return header !== undefined && this.#open < MOST_OPEN && header.keepUntil > this.#host.hosts.clock.now() && this.#host.hosts.demoters(header).length > 0
  }

  /**
   * Unlinks a file and keeps it open. It is moved away first: what is opened is then what is unlinked, also when somebody has just
   * written a newer one in its place.
   */
  async unlink(file: string, header: FrameHeader): Promise<Offers> {
    const moved = this.#host.temporaries.next()
    try {
      await fs.promises.rename(file, moved)
    } catch (error) {
      if (!isMissing(error)) throw error
      await fs.promises.unlink(file) // it is gone, or the directory of temporary files is
      return new Map()
    }
    try {
      return await this.#openFor(moved, header)
    } finally {
      await unlinkIfThere(moved)
    }
  }

  async #openFor(moved: string, { tenant, key }: FrameHeader): Promise<Offers> {
    const { hosts, close } = this.#host
    const offers = new Map<BackendHost, StreamedEntry>()
    for (const host of hosts.demoters({ tenant, key })) {
      if (this.#open >= MOST_OPEN) break
      const reading = await openEntryStream(moved, close, (error) => Promise.resolve(hosts.report(error)), { keepsName: false }).catch(() => undefined)
      if (reading?.status !== 'ok') break
      const { header, payload } = reading
      this.#open++
      payload.onRelease(() => this.#open--)
      if (header.tenant === tenant && header.key === key && header.keepUntil > hosts.clock.now()) offers.set(host, new StreamedEntry(payload, header))
      else payload.cancel()
    }
    return offers
  }
}
