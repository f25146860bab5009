// Survivors and why they may be. An explanation is found by what the mutant does and where, not by its line, so that edits elsewhere do
// not lose it.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'
import { ROOT } from '../run.mjs'

const EXPLAINED = path.join(ROOT, 'scripts', 'mutation', 'explained.json')
const LONGEST = 100

/**
 * `file`, `where` (class and function), `mutator`, `from`, `to`, of a mutant that Stryker reports.
 *
 * @param texts of the files as they were when the mutants were set: they may have been edited meanwhile
 */
export function describeMutant({ fileName, location, mutatorName, replacement }, texts) {
  const file = path.relative(ROOT, path.resolve(ROOT, fileName))
  const source = ts.createSourceFile(file, texts.get(file), ts.ScriptTarget.ES2022, true)
  const at = ({ line, column }) => source.getPositionOfLineAndCharacter(line - 1, column - 1) // a result's count from one
  const [start, end] = [at(location.start), at(location.end)]
  return { file, where: namesAround(source, start, end).join('.'), mutator: mutatorName, from: short(source.text.slice(start, end)), to: short(replacement), line: location.start.line }
}

function namesAround(source, start, end) {
  const names = []
  const visit = (node) => {
    if (node.getStart(source) > start || node.getEnd() < end) return
    const isNamed = ts.isClassDeclaration(node) || ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node) || ts.isAccessor(node) || ts.isPropertyDeclaration(node) || ts.isVariableDeclaration(node)
    if (isNamed && node.name !== undefined) names.push(node.name.getText(source))
    else if (ts.isConstructorDeclaration(node)) names.push('constructor')
    ts.forEachChild(node, visit)
  }
  visit(source)
  return names
}

/** On one line, the beginning of what is long. */
function short(code) {
  const line = code.replace(/\s+/g, ' ').trim()
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}...`
}

const keyOf = ({ file, where, mutator, from, to }) => [file, where, mutator, from, to].join('\n')

/** The explanations, each for as many survivors as it says (`times`, 1 if it does not). */
export class Explanations {
  #left = new Map()

  constructor(entries = JSON.parse(readFileSync(EXPLAINED, 'utf8'))) {
    for (const entry of entries) {
      if (typeof entry.why !== 'string' || entry.why.length === 0) throw new Error(`scripts/mutation/explained.json: the mutant "${entry.to}" in ${entry.where} of ${entry.file} has no "why"`)
      this.#left.set(keyOf(entry), { ...entry, left: entry.times ?? 1 })
    }
  }

  /** Why this survivor may be; `undefined`: nobody has said. */
  whyOf(mutant) {
    const entry = this.#left.get(keyOf(mutant))
    if (entry === undefined || entry.left === 0) return undefined
    entry.left--
    return entry.why
  }

  /** Those of the files that no survivor has used: the mutants are noticed now, or their code has gone. */
  unused(files) {
    return [...this.#left.values()].filter(({ file, left }) => files.has(file) && left > 0)
  }
}
