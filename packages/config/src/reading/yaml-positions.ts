import { isAlias, isMap, isNode, isPair, isScalar, isSeq, type Pair, type YAMLMap } from 'yaml'
import type { Path } from '../problems/path.js'
import type { Anchors } from './yaml-tree.js'

/** Finds paths in a YAML document, in a time that depends on the path and not on the document. */
export class YamlPositions {
  readonly #contents: unknown
  readonly #anchors: Anchors
  readonly #keys = new Map<YAMLMap, ReadonlyMap<string, Pair>>()

  constructor(contents: unknown, anchors: Anchors) {
    this.#contents = contents
    this.#anchors = anchors
  }

  /** Where a path's key stands in the text, or the nearest thing around it. */
  offsetOf(path: Path): number | undefined {
    let here = this.#resolved(this.#contents)
    let offset = startOf(here)
    for (const part of path) {
      const item = this.#item(here, part)
      if (item === undefined) break
      const shown: unknown = isPair(item) ? item.key : item
      offset = startOf(shown) ?? offset
      here = this.#resolved(isPair(item) ? item.value : item)
    }
    return offset
  }

  /** How a scalar without quotes is written; `''` where nothing is. */
  sourceOf(path: Path): string | undefined {
    let here = this.#resolved(this.#contents)
    for (const part of path) {
      const item = this.#item(here, part)
      if (item === undefined) return undefined
      here = this.#resolved(isPair(item) ? item.value : item)
    }
    if (here === null) return ''
    return isScalar(here) && here.type === 'PLAIN' ? here.source : undefined
  }

  #item(here: unknown, part: string | number): unknown {
    if (isSeq(here)) return here.items[Number(part)]
    return isMap(here) ? this.#keysOf(here).get(String(part)) : undefined
  }

  #keysOf(map: YAMLMap): ReadonlyMap<string, Pair> {
    const known = this.#keys.get(map)
    if (known !== undefined) return known
    const keys = new Map<string, Pair>()
    for (const pair of map.items) keys.set(String(isScalar(pair.key) ? (pair.key.value ?? '') : pair.key), pair)
    this.#keys.set(map, keys)
    return keys
  }

  #resolved(node: unknown): unknown {
    return isAlias(node) ? this.#anchors.get(node) : node
  }
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined
}
