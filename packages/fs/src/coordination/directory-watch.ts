import fs from 'node:fs'
import { systemClock } from '@thermocline/backend'

/** How often is looked where the system does not tell of changes, in milliseconds. */
const POLL_MS = 50

/** Tells when something in a directory may have changed: by the system, or else by the clock. It never keeps the process up. */
export class DirectoryWatch {
  readonly #directory: string
  readonly #changed: () => void
  #watcher: fs.FSWatcher | undefined
  #cancelPoll: (() => void) | undefined
  #isOn = false

  constructor(directory: string, changed: () => void) {
    this.#directory = directory
    this.#changed = changed
  }

  start(): void {
    if (this.#isOn) return
    this.#isOn = true
    this.#watch()
  }

  /** Where it is on: another directory may have the name now. */
  renew(): void {
    if (!this.#isOn) return
    this.stop()
    this.start()
  }

  stop(): void {
    this.#isOn = false
    this.#watcher?.close()
    this.#watcher = undefined
    this.#cancelPoll?.()
    this.#cancelPoll = undefined
  }

  #watch(): void {
    try {
      const watcher = fs.watch(this.#directory, { persistent: false }, () => this.#changed())
      this.#watcher = watcher
      watcher.on('error', () => {
        watcher.close()
        if (this.#watcher === watcher) this.#poll()
      })
    } catch {
      this.#poll() // no directory yet, or the system watches no more
    }
  }

  #poll(): void {
    this.#watcher = undefined
    this.#cancelPoll = systemClock.schedule(
      POLL_MS,
      () => {
        if (!this.#isOn) return
        this.#changed()
        this.#watch()
      },
      { background: true },
    )
  }
}
