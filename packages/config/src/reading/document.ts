import { isAlias, isCollection, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseDocument, type Document, type YAMLError } from 'yaml'
import type { Path } from '../problems/path.js'
import { ProblemList, type Position } from '../problems/problem-list.js'

/** A configuration as it was written, before anything is known about it. */
export interface Source {
  readonly tree: unknown
  /** Collects what is wrong and knows where it stands. */
  readonly problems: ProblemList
}

/**
 * Reads YAML, of which JSON is a part. A key given twice, an unknown tag and an endless alias are problems too.
 *
 * @throws ConfigError with line and column when the text cannot be read
 */
export function readText(text: string, file: string | undefined): Source {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true, logLevel: 'silent' })
  const problems = new ProblemList({ file, locate: (path) => positionOf(document, path, lines) })
  for (const error of worthTelling([...document.errors, ...document.warnings])) {
    const position = at(error.pos[0], lines)
    const hint = error.code !== 'DUPLICATE_KEY' && text.split('\n')[position.line - 1]?.includes('${') === true ? VARIABLE_HINT : ''
    problems.add([], `${reasonOf(error)}${hint}`, { position })
  }
  problems.throwIfAny()
  return { tree: treeOf(document, problems), problems }
}

const VARIABLE_HINT = '; a variable within { } or [ ] needs quotes: "${NAME}"'

/** After the first place where the structure breaks, the parser reports what follows from that. */
function worthTelling(errors: readonly YAMLError[]): readonly YAMLError[] {
  const broken = errors.find(({ code }) => code !== 'DUPLICATE_KEY' && code !== 'TAG_RESOLVE_FAILED')
  return broken === undefined ? errors : [broken]
}

function treeOf(document: Document, problems: ProblemList): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) as unknown
  } catch {
    problems.add([], 'cannot be read: an alias stands for nothing, for itself, or for too much', { position: { line: 1, column: 1 } })
    problems.throwIfAny()
    return undefined
  }
}

/** The parser's reason without what it quotes of the text, which may be a password. */
function reasonOf(error: YAMLError): string {
  if (error.code === 'DUPLICATE_KEY') return 'cannot be read: a key is given twice in one map'
  if (error.code === 'MULTIPLE_DOCS') return 'cannot be read: expected one document, found several'
  if (error.code === 'TAG_RESOLVE_FAILED') return 'cannot be read: unknown tag; tags of your own are not supported'
  if (error.code === 'BAD_DIRECTIVE') return 'cannot be read: a line beginning with % is no directive that YAML knows'
  const reason = error.message.replace(/:? ?["'`][^]*$/, '').replace(/: .*$/s, '')
  return `cannot be read: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`
}

function at(offset: number, lines: LineCounter): Position {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

/** Where a path's key stands, or the nearest thing around it. */
function positionOf(document: Document, path: Path, lines: LineCounter): Position | undefined {
  let here: unknown = document.contents
  let offset = isNode(here) ? here.range?.[0] : undefined
  for (const part of path) {
    if (isAlias(here)) here = here.resolve(document)
    if (!isCollection(here)) break
    const item = isMap(here) ? here.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(part)) : isSeq(here) ? here.items[Number(part)] : undefined
    if (item === undefined) break
    const shown: unknown = isPair(item) ? item.key : item
    if (isNode(shown)) offset = shown.range?.[0] ?? offset
    here = isPair(item) ? item.value : item
  }
  return offset === undefined ? undefined : at(offset, lines)
}
