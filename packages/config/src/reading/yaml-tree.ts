import { isAlias, isMap, isPair, isScalar, isSeq, type Alias, type Node, type Pair, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'
import { EMPTY } from './empty.js'
import { LIMITS, TOO_DEEP, TOO_MANY } from './limits.js'

/** A node's value as JavaScript has it, and how much there is in it. */
interface Made {
  readonly value: unknown
  readonly values: number
  readonly depth: number
}

/** Told of what cannot be read, with the offset in the text. */
export type Refuse = (message: string, offset: number) => void

/** Ends the reading at the first thing that makes the rest meaningless. It has been told already. */
class Unreadable extends Error {}

const ALIAS_TOO_MUCH = `cannot be read: an alias stands for too much: a configuration has at most ${LIMITS.values} values, with each alias counted as what it stands for`

const INFINITY = /^[-+]?\.inf$/i

/**
 * Makes plain values of a YAML document. The parser's own `toJS` takes the square of the aliases, and what stands for
 * itself comes out of it as an endless object. Keys given twice are told here for the same reason.
 *
 * @returns `undefined` when there is nothing to be had
 */
export function yamlTree(contents: unknown, anchors: Anchors, refuse: Refuse): unknown {
  try {
    return new TreeMaker(anchors, refuse).make(contents).value
  } catch (error) {
    if (error instanceof Unreadable) return undefined
    throw error
  }
}

/** What the aliases of a document stand for. */
export type Anchors = Map<Alias, Node>

class TreeMaker {
  readonly #targets: Anchors
  readonly #refuse: Refuse
  /** `undefined` while what has the anchor is being made. */
  readonly #byAnchor = new Map<string, { readonly node: Node; readonly made: Made | undefined }>()

  constructor(targets: Anchors, refuse: Refuse) {
    this.#targets = targets
    this.#refuse = refuse
  }

  make(node: unknown): Made {
    if (isAlias(node)) return this.#alias(node)
    if (isScalar(node)) return this.#anchored(node, () => this.#scalar(node))
    if (isMap(node)) return this.#anchored(node, () => this.#map(node))
    if (isSeq(node)) return this.#anchored(node, () => this.#list(node))
    return { value: EMPTY, values: 1, depth: 0 }
  }

  #anchored(node: Scalar | YAMLMap | YAMLSeq, make: () => Made): Made {
    const { anchor } = node
    if (anchor === undefined) return make()
    this.#byAnchor.set(anchor, { node, made: undefined })
    const made = make()
    this.#byAnchor.set(anchor, { node, made })
    return made
  }

  #alias(alias: Alias): Made {
    const target = this.#byAnchor.get(alias.source)
    if (target === undefined) return this.#giveUp('cannot be read: an alias stands for nothing: no anchor of that name is above it', alias)
    if (target.made === undefined) return this.#giveUp('cannot be read: an alias stands for itself: it is within what its anchor names', alias)
    this.#targets.set(alias, target.node)
    return target.made
  }

  #scalar(scalar: Scalar): Made {
    const { value, source, tag } = scalar
    if (value === null && source === '' && tag === undefined) return { value: EMPTY, values: 1, depth: 0 }
    if (typeof value === 'number' && !Number.isFinite(value) && !Number.isNaN(value) && !INFINITY.test(source ?? '')) {
      this.#refuse('cannot be read: a number is too large; where something is to be without end, write null', offsetOf(scalar))
    }
    return { value, values: 1, depth: 0 }
  }

  #list(list: YAMLSeq): Made {
    const size = new Size()
    const value = list.items.map((item) => {
      // `[ a: 1 ]` is a list of a map
      const made = isPair(item) ? this.#pairs([item]) : this.make(item)
      this.#add(size, made, isPair(item) ? (item.key as Node) : (item as Node), list)
      return made.value
    })
    return size.of(value)
  }

  #map(map: YAMLMap): Made {
    return this.#pairs(map.items, map)
  }

  #pairs(pairs: readonly Pair[], around?: YAMLMap): Made {
    const size = new Size()
    const entries = new Map<string, unknown>()
    const own = new Set<string>()
    for (const { key, value } of pairs) {
      const made = this.make(value)
      const place = (isScalar(key) ? key : around) as Node | undefined
      this.#add(size, made, isAlias(value) ? value : place, around)
      if (isMergeKey(key)) {
        for (const source of this.#mergeSources(made.value, place)) {
          size.values += Object.keys(source).length
          for (const [name, inside] of Object.entries(source)) if (!entries.has(name)) entries.set(name, inside)
        }
        continue
      }
      const name = this.#nameOf(key)
      if (own.has(name)) this.#refuse('cannot be read: a key is given twice in one map', offsetOf(key as Node))
      own.add(name)
      entries.set(name, made.value)
    }
    return size.of(Object.fromEntries(entries))
  }

  #nameOf(key: unknown): string {
    const name = isAlias(key) ? this.#alias(key).value : isScalar(key) ? key.value : key
    switch (typeof name) {
      case 'string':
        return name
      case 'number':
      case 'boolean':
      case 'bigint':
        return String(name)
      case 'symbol': // EMPTY
        return ''
      default:
        return name === null ? '' : this.#giveUp('cannot be read: a key has to be text, and is a map or a list', key as Node)
    }
  }

  #mergeSources(value: unknown, place: Node | undefined): readonly Readonly<Record<string, unknown>>[] {
    const sources: readonly unknown[] = Array.isArray(value) ? value : [value]
    if (sources.every((source) => typeof source === 'object' && source !== null && !Array.isArray(source))) return sources as readonly Readonly<Record<string, unknown>>[]
    return this.#giveUp('cannot be read: a merge key (`<<`) takes a map or a list of maps', place)
  }

  #add(size: Size, inside: Made, place: Node | undefined, around: Node | undefined): void {
    size.add(inside)
    if (size.depth > LIMITS.depth) this.#giveUp(TOO_DEEP, place ?? around)
    if (size.values > LIMITS.values) this.#giveUp(isAlias(place) ? ALIAS_TOO_MUCH : TOO_MANY, place ?? around)
  }

  #giveUp(message: string, node: Node | undefined): never {
    this.#refuse(message, offsetOf(node))
    throw new Unreadable()
  }
}

/** How much there is in a map or a list. */
class Size {
  values = 1
  depth = 1

  add({ values, depth }: Made): void {
    this.values += values
    this.depth = Math.max(this.depth, depth + 1)
  }

  of(value: unknown): Made {
    return { value, values: this.values, depth: this.depth }
  }
}

/** The parser marks it with a symbol, where it is written without quotes. */
function isMergeKey(key: unknown): boolean {
  return isScalar(key) && typeof key.value === 'symbol'
}

function offsetOf(node: Node | undefined | null): number {
  return node?.range?.[0] ?? 0
}
