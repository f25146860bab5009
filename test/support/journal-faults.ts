import { isStreamed, StreamedEntry, type CacheEntry, type JournalKeeper, type WriteBackJournal } from '@thermocline/backend'

type Step = 'note' | 'store' | 'read' | 'remove' | 'chunk'

/** Faults to order in a backend's journal. Beneath them it works unchanged. */
export class JournalFaults {
  /** How often each step was asked for. */
  readonly calls: Record<Step, number> = { note: 0, store: 0, read: 0, remove: 0, chunk: 0 }
  /** What copies were read for. */
  readonly wants: string[] = []
  readonly #faults = new Map<Step, 'fail' | 'hang'>()
  #held: (() => void)[] = []

  /** Puts them on the journals that the backend opens from now on. */
  on<B extends JournalKeeper>(backend: B): B {
    const open = backend.openJournal.bind(backend)
    backend.openJournal = (options) => this.#around(open(options))
    return backend
  }

  inject(fault: 'fail' | 'hang', ...steps: Step[]): void {
    for (const step of steps) this.#faults.set(step, fault)
  }

  /** Takes the faults away, and carries out what hangs. */
  heal(): void {
    this.#faults.clear()
    for (const release of this.#held.splice(0)) release()
  }

  get hanging(): number {
    return this.#held.length
  }

  #around(journal: WriteBackJournal): WriteBackJournal {
    return {
      load: () => journal.load(),
      supersede: (what) => this.#run('note', () => journal.supersede(what)),
      reserve: (write) => journal.reserve(write),
      grow: (slot, bytes) => journal.grow(slot, bytes),
      store: (slot, ...rest) => this.#run('store', () => journal.store(slot, ...rest)),
      read: (slot, want, ...rest) => {
        this.wants.push(want)
        return this.#run('read', async () => this.#withChunks(await journal.read(slot, want, ...rest)))
      },
      remove: (slot) => this.#run('remove', () => journal.remove(slot)),
      get nextLoadAt() {
        return journal.nextLoadAt
      },
      get size() {
        return journal.size
      },
      close: () => journal.close(),
    }
  }

  #withChunks(entry: CacheEntry | undefined): CacheEntry | undefined {
    if (entry === undefined || !isStreamed(entry)) return entry
    const { payload } = entry
    const run = (): Promise<void> => this.#run('chunk', () => Promise.resolve())
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for await (const chunk of payload.chunks()) {
        await run()
        yield chunk
      }
    }
    return new StreamedEntry({ codec: payload.codec, byteLength: payload.byteLength, crc32: payload.crc32, chunks, cancel: () => payload.cancel() }, entry)
  }

  async #run<T>(step: Step, work: () => Promise<T>): Promise<T> {
    this.calls[step]++
    const fault = this.#faults.get(step)
    if (fault === 'fail') throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' })
    if (fault === 'hang') await new Promise<void>((resolve) => this.#held.push(resolve))
    return work()
  }
}
