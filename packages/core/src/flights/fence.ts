import type { Invalidation } from '@thermocline/backend'
import { TransientMap } from './transient-map.js'

/**
 * A fence stands between an invalidation and whatever began before it. An operation that reads, computes or waits opens
 * one on its key; a set, delete or clear breaks it; the operation's write checks it at the moment of applying and is
 * dropped when it is broken. (The idea: layered-loader's write fences; the check at the moment of applying is ours.)
 */
export class Fence {
  readonly key: string
  broken = false
  /** Others may have invalidated the key since it was opened without this process having heard of it: nothing goes into tiers of its own. */
  isUnheard = false
  /** @internal operations that hold it */
  holders = 0

  constructor(key: string) {
    this.key = key
  }
}

/**
 * A fence on many keys at once. It notes what is invalidated while it is open, which is little, instead of being entered under
 * each of its keys.
 */
export class WideFence {
  /** As of {@link Fence.isUnheard}. */
  isUnheard = false
  /** @internal operations that hold it */
  holders = 1
  #keys: Set<string> | undefined
  #others: Invalidation[] | undefined

  break(invalidation: Invalidation): void {
    if (invalidation.key === undefined) (this.#others ??= []).push(invalidation)
    else this.breakKey(invalidation.key)
  }

  breakKey(key: string): void {
    this.#keys ??= new Set()
    this.#keys.add(key)
  }

  isBroken(key: string): boolean {
    return this.#keys?.has(key) === true || this.#others?.some((invalidation) => invalidation.covers(key)) === true
  }
}

/** A wide fence as it stands for one of its keys. */
export class FencedKey {
  readonly key: string
  readonly wide: WideFence

  constructor(key: string, wide: WideFence) {
    this.key = key
    this.wide = wide
  }

  get broken(): boolean {
    return this.wide.isBroken(this.key)
  }

  get isUnheard(): boolean {
    return this.wide.isUnheard
  }
}

/** The fences of one tenant. Holds only keys on which something is going on. */
export class FenceTable {
  readonly #open = new TransientMap<string, Fence>()
  /** Those that invalidations called later break, and none that is under way. */
  readonly #later = new TransientMap<string, Fence>()
  readonly #wide = new Set<WideFence>()
  /** How many invalidations of each key are under way. */
  readonly #keys = new TransientMap<string, number>()
  /** Those of them that synchronous tiers may not have applied yet. */
  readonly #waiting = new TransientMap<string, number>()
  /** Those under way that cover more than one key. */
  readonly #others: Invalidation[] = []

  /**
   * A fence that every invalidation of `key` from now on breaks. To be closed. While an invalidation of the key is under
   * way it is broken from the beginning: some tiers may still show the old value, and nothing read there may be written.
   */
  open(key: string): Fence {
    if (this.isInvalidating(key)) return brokenFence(key)
    let fence = this.#open.get(key)
    if (fence === undefined) {
      fence = new Fence(key)
      this.#open.set(key, fence)
    }
    fence.holders++
    return fence
  }

  /**
   * A fence that only invalidations called from now on break: for what is known to be the newest value although a set is under way, because
   * that has been applied where it came from. Not so a delete or clear, which begins in the slowest tier. To be closed with {@link closeLater}.
   */
  openLater(key: string): Fence {
    if (this.#waiting.has(key) || this.#isUnderOthers(key)) return brokenFence(key)
    let fence = this.#later.get(key)
    if (fence === undefined) {
      fence = new Fence(key)
      this.#later.set(key, fence)
    }
    fence.holders++
    return fence
  }

  closeLater(fence: Fence): void {
    if (--fence.holders === 0 && !fence.broken) this.#later.delete(fence.key)
  }

  close(fence: Fence): void {
    if (--fence.holders === 0 && !fence.broken) this.#open.delete(fence.key)
  }

  /** As {@link open}, for many keys. To be closed with {@link closeWide}. */
  openWide(keys: readonly string[]): WideFence {
    const fence = new WideFence()
    if (this.#keys.size > 0 || this.#others.length > 0) for (const key of keys) if (this.isInvalidating(key)) fence.breakKey(key)
    this.#wide.add(fence)
    return fence
  }

  closeWide(fence: WideFence): void {
    if (--fence.holders === 0) this.#wide.delete(fence)
  }

  /** Holds a fence for one operation more; returns how to end that. */
  hold(fence: Fence | FencedKey): () => void {
    if (fence instanceof FencedKey) {
      fence.wide.holders++
      return () => this.closeWide(fence.wide)
    }
    fence.holders++
    return () => this.close(fence)
  }

  /** Breaks what is open on one key. */
  breakKey(key: string): void {
    for (const wide of this.#wide) wide.breakKey(key)
    const fence = this.#open.get(key)
    if (fence === undefined) return
    fence.broken = true
    this.#open.delete(key)
  }

  /** From now on others are heard, and what was read or begun before is not known to be the newest. */
  beginHearing(): void {
    for (const fence of this.#open.values()) fence.isUnheard = true
    for (const wide of this.#wide) wide.isUnheard = true
    for (const key of this.#later.keys()) this.#breakLater(key)
  }

  /** Breaks one fence, and none that was opened on its key since. */
  breakOne(fence: Fence): void {
    fence.broken = true
    if (this.#open.get(fence.key) === fence) this.#open.delete(fence.key)
  }

  /** Breaks what is open on every key that the invalidation covers. */
  break(invalidation: Invalidation): void {
    const { key: only } = invalidation
    if (only !== undefined) return this.breakKey(only)
    for (const wide of this.#wide) wide.break(invalidation)
    for (const fence of this.#open.values()) {
      if (!invalidation.covers(fence.key)) continue
      fence.broken = true
      this.#open.delete(fence.key)
    }
  }

  /**
   * Fences on what the invalidation covers are broken from the beginning until the returned function is called.
   *
   * @param isAtOnce whether synchronous tiers have applied it when the call returns
   */
  whileInvalidating(invalidation: Invalidation, isAtOnce: boolean): () => void {
    const { key: only } = invalidation
    if (only !== undefined) return this.#whileInvalidatingKey(only, isAtOnce)
    for (const key of this.#later.keys()) if (invalidation.covers(key)) this.#breakLater(key)
    this.#others.push(invalidation)
    return () => this.#others.splice(this.#others.indexOf(invalidation), 1)
  }

  #whileInvalidatingKey(key: string, isAtOnce: boolean): () => void {
    this.#breakLater(key)
    const counts = isAtOnce ? [this.#keys] : [this.#keys, this.#waiting]
    for (const count of counts) count.set(key, (count.get(key) ?? 0) + 1)
    return () => {
      for (const count of counts) {
        const left = (count.get(key) ?? 1) - 1
        if (left === 0) count.delete(key)
        else count.set(key, left)
      }
    }
  }

  #breakLater(key: string): void {
    const fence = this.#later.get(key)
    if (fence === undefined) return
    fence.broken = true
    this.#later.delete(key)
  }

  /** Whether an invalidation of the key is under way: some tiers may still show what it replaces. */
  isInvalidating(key: string): boolean {
    return this.#keys.has(key) || this.#isUnderOthers(key)
  }

  #isUnderOthers(key: string): boolean {
    return this.#others.some((invalidation) => invalidation.covers(key))
  }
}

function brokenFence(key: string): Fence {
  const fence = new Fence(key)
  fence.broken = true
  fence.holders = 1
  return fence
}
