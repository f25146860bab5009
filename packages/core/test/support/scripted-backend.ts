import {
  CacheEntry,
  CacheError,
  TenantScope,
  validateKey,
  validateTenant,
  type Awaitable,
  type BackendCapabilities,
  type BackendStats,
  type CacheBackend,
  type CacheErrorCode,
  type Detach,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type ValidKey,
} from '@thermocline/backend'

export type Operation = 'get' | 'put' | 'delete' | 'clear'

/** A store of nothing that answers as the test says. */
export class ScriptedBackend implements CacheBackend {
  readonly name = 'scripted'
  readonly capabilities: BackendCapabilities = { synchronous: false, shared: false, durable: false, streams: false, keeps: 'bytes' }
  readonly calls: Operation[] = []
  /** The options of the last call. */
  options: OperationOptions = {}
  lastPut: CacheEntry | undefined
  lastTenant: string | undefined
  answer: (operation: Operation, options: OperationOptions) => Awaitable<unknown> = () => Promise.resolve(undefined)
  steps: () => AsyncIterable<StoredEntryInfo> = async function* () {}
  statsAnswer: () => Awaitable<BackendStats> = () => ({})

  attach(): Detach {
    return () => undefined
  }

  get(_scope: TenantScope, _key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    return this.#called('get', options) as Awaitable<CacheEntry | undefined>
  }

  getMany(_scope: TenantScope, _keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return this.#called('get', options) as Awaitable<readonly (CacheEntry | undefined)[]>
  }

  put(scope: TenantScope, _key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    this.lastPut = entry
    this.lastTenant = scope.tenant
    return this.#called('put', options) as Awaitable<boolean>
  }

  delete(_scope: TenantScope, _keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    return this.#called('delete', options) as Awaitable<number | undefined>
  }

  clear(_scope: TenantScope, _prefix: string, options: OperationOptions): Awaitable<number | undefined> {
    return this.#called('clear', options) as Awaitable<number | undefined>
  }

  list(_scope: TenantScope, _prefix: string, _options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return this.steps()
  }

  stats(): Awaitable<BackendStats> {
    return this.statsAnswer()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  #called(operation: Operation, options: OperationOptions): Awaitable<unknown> {
    this.calls.push(operation)
    this.options = options
    return this.answer(operation, options)
  }
}

export const SCOPE = new TenantScope(validateTenant('acme'))
export const KEY = validateKey('k')

/** Calls one operation with options that the test does not care about. */
export async function call(backend: CacheBackend, operation: Operation, options: OperationOptions & { bytes?: number } = {}): Promise<unknown> {
  const { bytes = 0, ...rest } = options
  switch (operation) {
    case 'get': return backend.get(SCOPE, KEY, { want: 'payload', touch: true, ...rest })
    case 'put': return backend.put(SCOPE, KEY, CacheEntry.ofBytes({ codec: 'buffer', bytes: new Uint8Array(bytes) }, { createdAt: 0, expiresAt: 1 }), { onlyIfAbsent: false, keepUntil: 1, ...rest })
    case 'delete': return backend.delete(SCOPE, [KEY], rest)
    case 'clear': return backend.clear(SCOPE, '', rest)
  }
}

export const OPERATIONS: readonly Operation[] = ['get', 'put', 'delete', 'clear']

export function failure(code: CacheErrorCode, retryable = false): CacheError {
  return new CacheError(code, `made to fail: ${code}`, { operation: 'get', retryable })
}
