import { isCoordinator, WrappedBackend, type CacheBackend, type Layer } from '@thermocline/backend'
import { FakeClock } from '@thermocline/testkit'

const WAITED_FOR = ['get', 'getMany', 'put', 'delete', 'clear'] as const
/** What processes that agree ask for a call; not what they hear in the background. */
const AGREED = ['enter', 'look', 'takeOver', 'leave', 'empty', 'announce'] as const

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

  /** Waits for what is asked of the coordination that is opened over the backend, too. */
  watchCoordination(backend: CacheBackend): void {
    if (!isCoordinator(backend)) return
    const open = backend.openCoordination.bind(backend)
    backend.openCoordination = () => {
      const coordination = open()
      this.#watch(coordination, coordination, AGREED)
      return coordination
    }
  }

  #watched(inner: CacheBackend): CacheBackend {
    const watched = new WrappedBackend(inner)
    this.#watch(watched, inner, WAITED_FOR)
    return watched
  }

  #watch<T extends object>(watched: T, inner: T, operations: readonly (keyof T & string)[]): void {
    for (const operation of operations) {
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
  }
}
