import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { deserialize, serialize } from 'node:v8'
import type { Compute, GetOrComputeOptions, SetOptions, TenantCache } from '@thermocline/core'

/** What the tiers get instead of the value. */
export interface Sealed {
  readonly keyId: string
  readonly nonce: Uint8Array
  readonly tag: Uint8Array
  readonly data: Uint8Array
}

/** Secret keys of 32 bytes, by their ids. New values are sealed with `current`; the others still open older ones. */
export interface KeyRing {
  readonly current: string
  readonly keys: ReadonlyMap<string, Uint8Array>
}

export class SealedCache {
  readonly #cache: TenantCache
  readonly #ring: KeyRing

  constructor(cache: TenantCache, ring: KeyRing) {
    this.#cache = cache
    this.#ring = ring
  }

  async set(key: string, value: unknown, options?: SetOptions): Promise<void> {
    await this.#cache.set(key, this.#seal(key, value), options)
  }

  async get<T>(key: string): Promise<T | undefined> {
    return this.#open<T>(key, await this.#cache.get<Sealed>(key))?.value
  }

  async getOrCompute<T>(key: string, compute: Compute<T>, options?: GetOrComputeOptions): Promise<T> {
    const ask = async (): Promise<{ readonly value: T } | undefined> =>
      this.#open<T>(key, await this.#cache.getOrCompute(key, async (ctx) => this.#seal(key, await compute(ctx)), options))
    const opened = await ask()
    if (opened !== undefined) return opened.value
    await this.#cache.delete(key) // sealed with a key that is gone, or changed by somebody
    const again = await ask()
    if (again === undefined) throw new Error(`${key} was sealed again with a key that this process does not have`)
    return again.value
  }

  #seal(key: string, value: unknown): Sealed {
    const { current } = this.#ring
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#secret(current), nonce).setAAD(this.#about(key, current))
    const data = Buffer.concat([cipher.update(serialize(value)), cipher.final()])
    return { keyId: current, nonce, tag: cipher.getAuthTag(), data }
  }

  /** The value, or nothing where it cannot be opened. */
  #open<T>(key: string, sealed: Sealed | undefined): { readonly value: T } | undefined {
    if (typeof sealed?.keyId !== 'string' || !this.#ring.keys.has(sealed.keyId)) return undefined // a miss, or plain, or of a key that is gone
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#secret(sealed.keyId), sealed.nonce, { authTagLength: 16 })
      decipher.setAAD(this.#about(key, sealed.keyId)).setAuthTag(sealed.tag)
      return { value: deserialize(Buffer.concat([decipher.update(sealed.data), decipher.final()])) as T }
    } catch {
      return undefined // it does not belong to this tenant and key, or was changed
    }
  }

  /** What is authenticated beside the value: an entry that was moved to another tenant or key does not open. */
  #about(key: string, keyId: string): Buffer {
    return Buffer.from(JSON.stringify([this.#cache.tenant, key, keyId]))
  }

  #secret(keyId: string): Uint8Array {
    const secret = this.#ring.keys.get(keyId)
    if (secret === undefined) throw new Error(`the key ring has no key ${keyId}`)
    return secret
  }
}
