import { CacheError, systemClock } from '@thermocline/backend'
import { Deadlines } from '../layers/deadlines.js'

const PATIENCE_MS = 10_000
/** Brotli at its highest level was measured at 173 bytes in a millisecond on one core; a busy machine has less. */
const SLOWEST_BYTES_PER_MS = 50

/**
 * What a step makes of so many bytes, which may come from zlib. That works on the thread pool of the process, which somebody else may have filled for ever: with reads of a disk that hangs. That is a
 * matter of real threads, and so of real time, whatever clock the manager has.
 *
 * @throws CacheError `timeout` when it is not there within ten seconds and twenty per megabyte
 */
export function onPool<T>(operation: 'encode' | 'decode', bytes: number, work: Promise<T>): Promise<T> {
  const patienceMs = PATIENCE_MS + bytes / SLOWEST_BYTES_PER_MS
  return new Promise<T>((resolve, reject) => {
    const cancel = Deadlines.of(systemClock).schedule(patienceMs, () => {
      const what = operation === 'encode' ? 'compressed' : 'decompressed'
      reject(new CacheError('timeout', `${bytes} bytes were not ${what} within ${Math.round(patienceMs / 1000)} s: something holds the thread pool of this process`, { operation }))
    })
    work.then(resolve, reject).finally(cancel)
  })
}
