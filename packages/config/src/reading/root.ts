import { unknownKey } from '../problems/translate.js'
import { found } from '../problems/found.js'
import { didYouMean, nearMiss } from '../problems/near-miss.js'
import type { Path } from '../problems/path.js'
import { belongs } from '../belongs.js'
import type { Source } from './document.js'
import { EMPTY } from './empty.js'
import { isRecord } from '../schema/json-schema.js'

/** What stands below `caching`, and where that is. */
export interface Root {
  readonly caching: Readonly<Record<string, unknown>>
  /** `['caching']`, or empty where a document is that content itself. */
  readonly at: Path
}

const FILE_NAME = /\.(?:ya?ml|json)$|^(?:~|\.{0,2}[/\\]|[A-Za-z]:\\)/

/**
 * Finds the configuration in a document: below `caching`, or the document itself when it has `tiers` or a `preset`.
 *
 * @throws ConfigError when the document is neither
 */
export function rootOf({ tree, problems }: Source): Root {
  if (isRecord(tree) && Object.hasOwn(tree, 'caching')) {
    for (const key of Object.keys(tree)) {
      if (key === 'caching' || key === '$schema' || key.startsWith('x-')) continue
      const { path, message, suggestion } = unknownKey([key], ['caching'], { belongs: (path) => belongs(isRecord(tree['caching']) ? tree['caching'] : {}, ['caching'], path) })
      problems.add(path, message, { suggestion })
    }
    const { caching } = tree
    if (isRecord(caching)) return { caching, at: ['caching'] }
    problems.add(['caching'], `expected a map with tiers, found ${caching === EMPTY ? 'nothing' : found(caching, [])}`)
  } else if (isRecord(tree) && (Object.hasOwn(tree, 'tiers') || Object.hasOwn(tree, 'preset'))) {
    return { caching: tree, at: [] }
  } else if (isRecord(tree)) {
    const near = Object.keys(tree).find((key) => nearMiss(key, ['caching', 'tiers']) !== undefined)
    const suggestion = near === undefined ? undefined : nearMiss(near, ['caching', 'tiers'])
    problems.add(near === undefined ? [] : [near], `expected the key \`caching\` with tiers in it, found no such key${didYouMean(suggestion)}`, { suggestion })
  } else {
    const isPath = typeof tree === 'string' && FILE_NAME.test(tree)
    const hint = isPath ? ': this takes the text of a configuration; `loadCache` takes the path of a file' : ''
    problems.add([], tree === null || tree === undefined || tree === EMPTY ? 'is empty: expected the key `caching` with tiers in it' : `expected a map with the key \`caching\`, found ${found(tree, [])}${hint}`)
  }
  problems.throwIfAny()
  throw new Error('unreachable: a document without a configuration has a problem')
}
