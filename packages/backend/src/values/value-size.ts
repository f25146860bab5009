import { types } from 'node:util'
import {
  ARRAY,
  bytesOfBigint,
  bytesOfLeaf,
  bytesOfMap,
  bytesOfProperties,
  bytesOfSet,
  bytesOfString,
  BOXED_NUMBER,
  BUFFER,
  HEADER,
  INTERNED,
  isSmall,
  OBJECT,
  SLOT,
  VIEW,
} from './heap-bytes.js'
import { bytesOfSmall } from './small-value-size.js'

/*
 * How much memory a live value takes, without looking at all of it.
 *
 * The value is gone through level by level. Of each container up to so many children are looked at: what is no container (numbers, strings
 * with their lengths, views with their buffers) is counted at once, the rest is the next level. Where there are more, a part of them stands for
 * all, chosen from equal strata with a jitter, so that no period in the data is mistaken for the whole, and counts for as many as it stands
 * for. Containers whose length says that they are large are chosen apart from the others: a few of them can be most of the value.
 *
 * Rejected: going on until a number of nodes is reached and extrapolating from those. What comes last in the order of the walk is not seen, so a few
 * large strings behind many small ones counted nothing, and many small ones behind a large one counted as large.
 */

/** Children looked at in one level. A walk of them takes a fraction of a millisecond. */
const LOOKS_PER_LEVEL = 4096
const LEAST_LOOKS = 24
/** Containers opened in one level, of the small ones and of the large. */
const OPENED_PER_LEVEL = 256
/** Containers opened in all: deep chains end here. */
const MOST_OPENED = 10_000
/** Items from which on an array, Map or Set is large. */
const LARGE = 64
/** Parts of a container that are looked at for what is heavy by itself: a string, a view. The others are chosen from the rest. */
const MOST_SCANNED = 2 ** 17
const HEAVY_BYTES = 1024
/** Arrays beyond it are hash tables; so are shorter ones with few items. */
const MOST_ITEMS_IN_A_ROW = 2 ** 25

/**
 * An estimate, in bytes, of what a live value keeps on the heap and beside it: for limits on memory. Within a factor of two for
 * values that are data. The whole buffer behind a view counts, once. Looks at some thousand parts of larger values and extrapolates; only the names of an
 * object's properties are all listed. Runs getters; one that throws counts nothing. Never throws, and takes no stack.
 */
export function estimateBytes(value: unknown): number {
  if (typeof value === 'string') return Math.max(SLOT, bytesOfString(value))
  if (value === null || (typeof value !== 'object' && typeof value !== 'bigint')) return SLOT
  return (typeof value === 'object' ? bytesOfSmall(value) : undefined) ?? estimateLarge(value)
}

/** @internal the same for a value of any size: a walk that {@link bytesOfSmall} spares small ones */
export function estimateLarge(value: unknown): number {
  return Math.max(SLOT, Math.round(new Estimate().of(value)))
}

/** Containers that are still to be opened, and for how many each of them stands. */
class Level {
  readonly objects: object[] = []
  readonly weights: number[] = []

  push(object: object, weight: number): void {
    this.objects.push(object)
    this.weights.push(weight)
  }
}

class Estimate {
  #bytes = 0
  #small = new Level()
  #large = new Level()
  #opened = 0
  #looks = LOOKS_PER_LEVEL
  #random = 1
  readonly #seen = new Set<object>()
  readonly #interned = new Set<string>()
  readonly #names = new Set<string>()
  /** Prototypes of objects that have nothing but properties: to find that out takes ten questions. */
  readonly #ordinary = new Set<object | null>([null, Object.prototype])

  of(value: unknown): number {
    this.#add(value, 1, 1)
    this.#openAll()
    return this.#bytes
  }

  #openAll(): void {
    while (this.#small.objects.length + this.#large.objects.length > 0 && this.#opened < MOST_OPENED) {
      const small = this.#small
      const large = this.#large
      this.#small = new Level()
      this.#large = new Level()
      const opening = Math.min(small.objects.length, OPENED_PER_LEVEL) + Math.min(large.objects.length, OPENED_PER_LEVEL)
      this.#looks = Math.max(LEAST_LOOKS, Math.floor(LOOKS_PER_LEVEL / opening))
      this.#openSome(small)
      this.#openSome(large)
    }
  }

  /**
   * Counts a part, or puts it off to the next level. The slot it lies in is its container's.
   *
   * @param weight for how many parts it stands
   * @param distinct how many of them are objects of their own
   */
  #add(value: unknown, weight: number, distinct: number): void {
    switch (typeof value) {
      case 'number':
        if (!isSmall(value)) this.#bytes += BOXED_NUMBER * weight
        return
      case 'string':
        return this.#addString(value, weight)
      case 'bigint':
        this.#bytes += bytesOfBigint(value) * weight
        return
      case 'object':
      case 'function':
        if (value !== null && !this.#seen.has(value)) this.#addObject(value, weight, distinct)
    }
  }

  #addString(text: string, weight: number): void {
    if (text.length <= INTERNED) {
      if (this.#interned.has(text)) return
      this.#interned.add(text)
    }
    this.#bytes += bytesOfString(text) * weight
  }

  #addObject(object: object, weight: number, distinct: number): void {
    if (ArrayBuffer.isView(object)) return this.#addView(object, weight, distinct)
    this.#seen.add(object)
    if (types.isProxy(object)) this.#bytes += ARRAY * distinct // its target is not looked into: that may run anything
    else if (Array.isArray(object)) (object.length < LARGE ? this.#small : this.#large).push(object, distinct)
    else if (this.#ordinary.has(Object.getPrototypeOf(object) as object | null)) this.#small.push(object, distinct)
    else this.#addSpecial(object, distinct)
  }

  #addSpecial(object: object, distinct: number): void {
    const leaf = bytesOfLeaf(object)
    if (leaf !== undefined) this.#bytes += leaf * distinct
    else if (types.isAnyArrayBuffer(object)) this.#bytes += (BUFFER + object.byteLength) * distinct
    else if (types.isMap(object) || types.isSet(object)) (object.size < LARGE ? this.#small : this.#large).push(object, distinct)
    else {
      this.#ordinary.add(Object.getPrototypeOf(object) as object | null)
      this.#small.push(object, distinct)
    }
  }

  #addView(view: ArrayBufferView, weight: number, distinct: number): void {
    // bytes so few may lie in the view itself: to ask for their buffer would make one
    if (view.byteLength <= 64 && view.byteOffset === 0 && !Buffer.isBuffer(view)) {
      this.#bytes += (VIEW + view.byteLength) * weight
      return
    }
    this.#bytes += (VIEW - BUFFER) * weight
    const { buffer } = view
    if (this.#seen.has(buffer)) return
    this.#seen.add(buffer)
    this.#bytes += (BUFFER + buffer.byteLength) * distinct
  }

  #openSome({ objects, weights }: Level): void {
    const count = objects.length
    const opening = Math.min(count, OPENED_PER_LEVEL)
    for (let i = 0; i < opening; i++) {
      const at = opening === count ? i : this.#pick(i, opening, count)
      this.#opened++
      try {
        this.#open(objects[at] as object, ((weights[at] as number) * count) / opening)
      } catch {
        // a class of somebody's that throws when it is read: what was counted until then counts
      }
    }
  }

  #open(object: object, weight: number): void {
    if (Array.isArray(object)) return this.#openArray(object, weight)
    if (types.isMap(object)) {
      this.#bytes += bytesOfMap(object.size) * weight
      this.#openIterable(object.keys(), object.size, weight)
      return this.#openIterable(object.values(), object.size, weight)
    }
    if (types.isSet(object)) {
      this.#bytes += bytesOfSet(object.size) * weight
      return this.#openIterable(object.values(), object.size, weight)
    }
    this.#openObject(object as Record<string, unknown>, weight)
  }

  #openArray(array: readonly unknown[], weight: number): void {
    const { length } = array
    if (length === 0) {
      this.#bytes += ARRAY * weight
      return
    }
    const looks = Math.min(length, this.#looks)
    const picked: unknown[] = []
    let holes = 0
    let others = 0
    for (let i = 0; i < looks; i++) {
      const at = looks === length ? i : this.#pick(i, looks, length)
      const item = array[at]
      if (item === undefined && !Object.hasOwn(array, at)) holes++
      else if (typeof item !== 'number') others++
      picked.push(item)
    }
    if (length > MOST_ITEMS_IN_A_ROW || (holes === looks && length > LARGE)) return this.#openSparse(array, weight)
    this.#bytes += (ARRAY + HEADER + length * SLOT) * weight
    if (others === 0) return // numbers in a row
    this.#addParts(picked, length, weight, looks === length || length > MOST_SCANNED ? undefined : array)
  }

  /**
   * An array of holes: what it has is listed by its own keys, however long it claims to be. One that grew by its items, with gaps, ends with the
   * last of them and is a hash table; one whose length was set has room for all.
   */
  #openSparse(array: readonly unknown[], weight: number): void {
    const names = Object.keys(array)
    const isTable = array.length > MOST_ITEMS_IN_A_ROW || Object.hasOwn(array, array.length - 1)
    this.#bytes += (ARRAY + (isTable ? names.length * 6 : array.length) * SLOT) * weight
    this.#addNamed(array as unknown as Record<string, unknown>, names, weight)
  }

  #openObject(object: Record<string, unknown>, weight: number): void {
    const names = Object.keys(object)
    const name = names[names.length >> 1]
    const isKnownShape = name !== undefined && this.#names.has(name)
    if (name !== undefined) this.#names.add(name)
    const { table, each } = bytesOfProperties(names, isKnownShape)
    this.#bytes += (OBJECT + table + each * names.length) * weight
    this.#addNamed(object, names, weight)
  }

  #addNamed(object: Record<string, unknown>, names: readonly string[], weight: number): void {
    const read = (at: number): unknown => {
      try {
        return object[names[at] as string]
      } catch {
        return undefined // a getter that throws: it holds nothing itself
      }
    }
    const looks = Math.min(names.length, this.#looks)
    const picked: unknown[] = []
    for (let i = 0; i < looks; i++) picked.push(read(looks === names.length ? i : this.#pick(i, looks, names.length)))
    this.#addParts(picked, names.length, weight, looks === names.length || names.length > MOST_SCANNED ? undefined : names.map((_, at) => read(at)))
  }

  /** A Map or Set can only be gone through from its beginning: so far as is scanned. */
  #openIterable(items: IterableIterator<unknown>, size: number, weight: number): void {
    const all: unknown[] = []
    for (const item of items) if (all.push(item) >= MOST_SCANNED) break
    const looks = Math.min(all.length, this.#looks)
    const picked: unknown[] = []
    for (let i = 0; i < looks; i++) picked.push(all[looks === all.length ? i : this.#pick(i, looks, all.length)])
    this.#addParts(picked, size, weight, looks === all.length ? undefined : all)
  }

  /**
   * Adds what was picked of `count` parts. Where most of it is the same few objects, the rest will be too.
   *
   * @param all the parts, where they are scanned for heavy ones
   */
  #addParts(picked: readonly unknown[], count: number, weight: number, all: readonly unknown[] | undefined): void {
    if (picked.length === 0) return
    let light = picked
    let rest = count
    if (all !== undefined) {
      for (const part of all) {
        if (!isHeavy(part)) continue
        rest--
        this.#add(part, weight, weight)
      }
      light = picked.filter((part) => !isHeavy(part))
    }
    const scaled = (weight * rest) / Math.max(1, light.length)
    const distinct = light.length === rest || !this.#areFew(light) ? scaled : weight
    for (const part of light) this.#add(part, scaled, distinct)
  }

  #areFew(picked: readonly unknown[]): boolean {
    const here = new Set<object>()
    let met = 0
    let objects = 0
    for (const part of picked) {
      if (typeof part !== 'object' || part === null) continue
      objects++
      const object = ArrayBuffer.isView(part) ? part.buffer : part
      if (here.has(object) || this.#seen.has(object)) met++
      else here.add(object)
    }
    return met * 2 > objects
  }

  /** A place in the i-th of `strata` equal parts of `count`. */
  #pick(i: number, strata: number, count: number): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return Math.min(count - 1, Math.floor(((i + this.#random / 2 ** 32) * count) / strata))
  }
}

function isHeavy(part: unknown): boolean {
  return typeof part === 'string' ? part.length >= HEAVY_BYTES : typeof part === 'object' && ArrayBuffer.isView(part) && part.byteLength >= HEAVY_BYTES
}
