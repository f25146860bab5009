import { isPromise } from './awaitable.js'
import type { Awaitable, CacheBackend, ReadOptions } from './backend.js'
import type { CacheEntry } from './entry.js'
import type { TenantScope } from './scope.js'
import type { ValidKey } from '../keys/key.js'

/** `getMany` by a `get` for each key, all at once: for stores that take one key at a time. */
export function getEach(backend: Pick<CacheBackend, 'get'>, scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
  const answers = keys.map((key) => backend.get(scope, key, options))
  return answers.some(isPromise) ? Promise.all(answers as Promise<CacheEntry | undefined>[]) : (answers as (CacheEntry | undefined)[])
}
