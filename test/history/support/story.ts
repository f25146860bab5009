import { FakeClock, History, type Computed, type Form, type Read, type Removal, type Write } from '@thermocline/testkit'

interface Where {
  readonly tenant?: string
  readonly key?: string
  readonly manager?: number
}

/** Writes histories by hand: calls begin and end in the order in which its methods are called. */
export class Story {
  readonly clock = new FakeClock()
  readonly history = new History(this.clock)
  #versions = 0

  beginSet({ tenant = 'acme', key = 'k', manager = 0, ttlMs = Infinity, form = 'object', verb = 'set' }: Where & { readonly ttlMs?: number; readonly form?: Form; readonly verb?: string } = {}): Write {
    const write = this.history.write({ manager, client: 0, verb, tenant, key, version: `v${++this.#versions}`, form, ttlMs })
    if (verb !== 'setStream') write.bornBy = this.clock.now()
    return write
  }

  set(given: Parameters<Story['beginSet']>[0] = {}): Write {
    return this.end(this.beginSet(given))
  }

  beginDelete({ tenant = 'acme', key = 'k', manager = 0 }: Where = {}): Removal {
    return this.history.removal({ manager, client: 1, verb: 'delete', tenant, key, prefix: undefined })
  }

  delete(where: Where = {}): Removal {
    return this.end(this.beginDelete(where))
  }

  clear(prefix: string, { tenant = 'acme', manager = 0 }: Where = {}): Removal {
    return this.end(this.history.removal({ manager, client: 1, verb: 'clear', tenant, key: undefined, prefix }))
  }

  beginRead({ tenant = 'acme', key = 'k', manager = 0, verb = 'get', asksOwnTiers = true }: Where & { readonly verb?: string; readonly asksOwnTiers?: boolean } = {}): Read {
    return this.history.read({ manager, client: 2, verb, tenant, key, asksOwnTiers })
  }

  /** Ends a read that returned the value. */
  returned(read: Read, { version }: { readonly version: string }, more: { readonly form?: Form; readonly expiresAt?: number } = {}): Read {
    read.answer = { is: 'version', version, ...more }
    return this.end(read)
  }

  read(value: { readonly version: string }, given: Parameters<Story['beginRead']>[0] = {}): Read {
    return this.returned(this.beginRead(given), value)
  }

  miss(given: Parameters<Story['beginRead']>[0] = {}): Read {
    const read = this.beginRead(given)
    read.answer = { is: 'miss' }
    return this.end(read)
  }

  /** A `has` or `list` that said yes. */
  present(verb: 'has' | 'list' = 'has'): Read {
    const read = this.beginRead({ verb })
    read.answer = { is: 'present' }
    return this.end(read)
  }

  beginCompute(starter: Read, { ttlMs = Infinity }: { readonly ttlMs?: number } = {}): Computed {
    return this.history.computed(starter, { version: `v${++this.#versions}`, form: 'object', ttlMs })
  }

  /** A `getOrCompute` that computed. */
  computed(where: Where = {}): Computed {
    const read = this.beginRead({ verb: 'getOrCompute', ...where })
    const computed = this.end(this.beginCompute(read))
    this.returned(read, computed)
    return computed
  }

  end<R extends Write | Removal | Read | Computed>(record: R): R {
    this.history.ended(record)
    return record
  }

  rejected<R extends Write | Removal | Read>(record: R, error: unknown = new Error('no')): R {
    this.history.ended(record, 'rejected', error)
    return record
  }
}
