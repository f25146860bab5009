import { Composer, Lexer, LineCounter, Parser, type CST, type Document, type YAMLError } from 'yaml'
import type { Path } from '../problems/path.js'
import { ProblemList, type Position } from '../problems/problem-list.js'
import { LIMITS, TOO_DEEP, TOO_LARGE, TOO_MANY } from './limits.js'
import { YamlPositions } from './yaml-positions.js'
import { yamlTree, type Anchors } from './yaml-tree.js'

/** A configuration as it was written, before anything is known about it. */
export interface Source {
  /** Plain values, and `EMPTY` where a text has a key and nothing after it. */
  readonly tree: unknown
  /** Collects what is wrong and knows where it stands. */
  readonly problems: ProblemList
  /** How a number, `true`, `null` or nothing is written in the text; `undefined` where that is not known. */
  readonly sourceAt: (path: Path) => string | undefined
}

/**
 * Reads YAML, of which JSON is a part. A key given twice, an unknown tag, an alias without end and a second document are
 * problems too. Takes a time in proportion to the text, whatever is in it.
 *
 * @throws ConfigError with line and column when the text cannot be read
 */
export function readText(text: string, file: string | undefined): Source {
  const lines = new LineCounter()
  const anchors: Anchors = new Map()
  let positions: YamlPositions | undefined
  const locate = (path: Path): Position | undefined => {
    const offset = positions?.offsetOf(path)
    return offset === undefined ? undefined : at(offset, lines)
  }
  const problems = new ProblemList({ file, locate })
  const refuse = (message: string, offset: number): void => problems.add([], message, { position: at(offset, lines) })
  if (Buffer.byteLength(text) > LIMITS.bytes) refuse(TOO_LARGE, 0)
  problems.throwIfAny()
  const document = compose(text, lines, refuse)
  problems.throwIfAny()
  const written = text.split('\n')
  for (const error of worthTelling([...document.errors, ...document.warnings])) {
    const position = at(error.pos[0], lines)
    const hint = written[position.line - 1]?.includes('${') === true ? VARIABLE_HINT : ''
    problems.add([], `${reasonOf(error)}${hint}`, { position })
  }
  problems.throwIfAny()
  const tree = yamlTree(document.contents, anchors, refuse)
  problems.throwIfAny()
  const known = (positions = new YamlPositions(document.contents, anchors))
  return { tree, problems, sourceAt: (path) => known.sourceOf(path) }
}

const VARIABLE_HINT = '; a variable within { } or [ ] needs quotes: "${NAME}"'

/** The first document. What it cannot be composed from is told. */
function compose(text: string, lines: LineCounter, refuse: (message: string, offset: number) => void): Document {
  const composer = new Composer({ lineCounter: lines, prettyErrors: false, merge: true, logLevel: 'silent', uniqueKeys: false })
  const documents = composer.compose(tokens(text, lines, refuse), true, text.length)
  const first = documents.next().value as Document
  const second = documents.next()
  if (second.done !== true) refuse('cannot be read: expected one document, and another one begins here; put everything into one, without `---` between', second.value.range[0])
  return first
}

/**
 * The parser's tokens. It is asked after each lexeme how deep it is, because what comes after it is recursive, and ends the
 * process where the nesting is deep enough.
 */
function* tokens(text: string, lines: LineCounter, refuse: (message: string, offset: number) => void): Generator<CST.Token> {
  const parser = new Parser(lines.addNewLine)
  lines.addNewLine(0)
  let lexemes = 0
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme)
    const isDeep = parser.stack.length > MOST_OPEN
    if (isDeep || ++lexemes > LIMITS.lexemes) {
      refuse(isDeep ? TOO_DEEP : TOO_MANY, parser.offset)
      return
    }
  }
  yield* parser.end()
}

/** The parser has up to two things open for each map or list, and a few around them. */
const MOST_OPEN = 2 * LIMITS.depth + 8

/** After the first place where the structure breaks, the parser reports what follows from that. */
function worthTelling(errors: readonly YAMLError[]): readonly YAMLError[] {
  const broken = errors.find(({ code }) => code !== 'TAG_RESOLVE_FAILED')
  return broken === undefined ? errors : [broken]
}

/** The parser's reason without what it quotes of the text, which may be a password. */
function reasonOf(error: YAMLError): string {
  if (error.code === 'TAG_RESOLVE_FAILED') return 'cannot be read: unknown tag; tags of your own are not supported'
  if (error.code === 'BAD_DIRECTIVE') return 'cannot be read: a line beginning with % is no directive that YAML knows'
  const reason = error.message.replace(/:? ?["'`][^]*$/, '').replace(/: .*$/s, '')
  return `cannot be read: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`
}

function at(offset: number, lines: LineCounter): Position {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}
