import { WrappedBackend, type CacheBackend, type Layer } from '@thermocline/backend'
import { FakeClock } from '@thermocline/testkit'

const WAITED_FOR = ['get', 'getMany', 'put', 'delete', 'clear'] as const

/** A fake clock that does not overtake a real server: it waits for the operations that are under way beneath its layer. */
export class NetworkClock extends FakeClock {
  readonly layer: Layer = (inner) => this.#watched(inner)
  /** Whether it waits for them. Where one of them waits for the test, it must not. */
  waits = true
  #underWay = 0

  override async settle(): Promise<void> {
    do await super.settle()
    while (this.waits && this.#underWay > 0)
  }

  #watched(inner: CacheBackend): CacheBackend {
    const watched = new WrappedBackend(inner)
    for (const operation of WAITED_FOR) {
      const run = (inner[operation] as (...args: unknown[]) => unknown).bind(inner)
      Object.assign(watched, {
        [operation]: async (...args: unknown[]): Promise<unknown> => {
          this.#underWay++
          try {
            return await run(...args)
          } finally {
            this.#underWay--
          }
        },
      })
    }
    return watched
  }
}
