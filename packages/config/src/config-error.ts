/** One thing that is wrong in a configuration. */
export interface Problem {
  /** Where, as it is written in the file: `caching.tiers.hot.config.max_size_gb`. Empty: the document itself. */
  readonly path: string
  /** What was expected, what was found, and what to do. Never a credential, never what came from the environment. */
  readonly message: string
  /** What was probably meant, for a near miss. */
  readonly suggestion?: string | undefined
  /** From 1; where the problem is in a file or text. */
  readonly line?: number | undefined
  /** From 1; where the problem is in a file or text. */
  readonly column?: number | undefined
}

/** A configuration that cannot be used: one error that lists every problem in it. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[]
  /** The file as it was named by the caller; absent for an object, a text without a name, or the environment. */
  readonly file: string | undefined

  constructor(problems: readonly Problem[], file?: string, cause?: unknown) {
    super(describe(problems, file), cause === undefined ? undefined : { cause })
    this.name = 'ConfigError'
    this.problems = problems
    this.file = file
  }
}

function describe(problems: readonly Problem[], file: string | undefined): string {
  const head = `${file ?? 'the cache configuration'} has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:`
  return [head, ...problems.map((problem) => `  - ${lineOf(problem, file)}`)].join('\n')
}

function lineOf({ path, message, line, column }: Problem, file: string | undefined): string {
  const where = line === undefined ? '' : `${file ?? 'line '}${file === undefined ? '' : ':'}${line}:${column ?? 1} `
  return `${where}${path}${path === '' ? '' : ': '}${message}`
}
