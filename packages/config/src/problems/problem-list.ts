import { ConfigError, type Problem } from '../config-error.js'
import { formatPath, type Path } from './path.js'

/** Where in a text a path is. */
export interface Position {
  /** From 1. */
  readonly line: number
  /** From 1. */
  readonly column: number
}

export interface ProblemListOptions {
  readonly file?: string | undefined
  /** Finds a path in the text that was read. */
  readonly locate?: ((path: Path) => Position | undefined) | undefined
}

/** Collects what is wrong, so that it can be told at once. The first problem of a path is the one that is kept. */
export class ProblemList {
  readonly #options: ProblemListOptions
  readonly #byPath = new Map<string, Problem>()
  #cause: unknown

  constructor(options: ProblemListOptions) {
    this.#options = options
  }

  add(path: Path, message: string, details: { readonly suggestion?: string | undefined; readonly position?: Position | undefined; readonly cause?: unknown } = {}): void {
    const written = formatPath(path)
    const position = details.position ?? this.#options.locate?.(path)
    const key = details.position === undefined ? written : `${written} ${details.position.line}`
    if (this.#byPath.has(key)) return
    this.#cause ??= details.cause
    const suggestion = details.suggestion === undefined ? {} : { suggestion: details.suggestion }
    this.#byPath.set(key, { path: written, message, ...suggestion, ...position })
  }

  /** Whether something is wrong at that very path. */
  has(path: Path): boolean {
    return this.#byPath.has(formatPath(path))
  }

  get isEmpty(): boolean {
    return this.#byPath.size === 0
  }

  /** @throws ConfigError with all problems, in the order of the text, when there are any */
  throwIfAny(): void {
    if (this.isEmpty) return
    const last = Number.POSITIVE_INFINITY
    const inOrder = [...this.#byPath.values()].sort((a, b) => compare(a.line ?? last, b.line ?? last) || compare(a.column ?? last, b.column ?? last))
    throw new ConfigError(inOrder, this.#options.file, this.#cause)
  }
}

/** `Infinity - Infinity` is no order. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1
}
