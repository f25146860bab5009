import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')

/** One import, re-export, dynamic import or `import('x').T` of a source file. */
export interface Import {
  readonly specifier: string
  /** The project file it leads to, from the root, or `undefined` for a package from the registry or Node. */
  readonly target: string | undefined
  readonly kind: 'value' | 'type' | 'dynamic'
  readonly line: number
}

export interface SourceFile {
  /** From the root, with forward slashes: `packages/core/src/keys/key.ts`. */
  readonly path: string
  /** `core` */
  readonly packageName: string
  /** The folder in `src`, or the file's own name when it lies in `src` itself: `keys`, `version.ts`. */
  readonly folder: string
  readonly imports: readonly Import[]
  readonly syntax: ts.SourceFile
}

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly license?: string
  readonly type?: string
  readonly sideEffects?: boolean
  readonly engines?: { readonly node?: string }
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

export const PACKAGES: readonly string[] = directoriesIn('packages')

/** The folders of every workspace package, from the root; the root itself is `.`. */
export const WORKSPACE: readonly string[] = ['.', ...PACKAGES.map((name) => `packages/${name}`), ...directoriesIn('examples').map((name) => `examples/${name}`), 'bench', 'test'].filter(
  (directory) => existsSync(path.join(ROOT, directory, 'package.json')),
)

export const SOURCES: readonly SourceFile[] = PACKAGES.flatMap((name) => sourcesOf(name))

export function manifestOf(directory: string): Manifest {
  return JSON.parse(readFileSync(path.join(ROOT, directory, 'package.json'), 'utf8')) as Manifest
}

/** Calls `visit` for every node of a file. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  node.forEachChild((child) => {
    walk(child, visit)
  })
}

export function lineOf(syntax: ts.SourceFile, node: ts.Node): number {
  return syntax.getLineAndCharacterOfPosition(node.getStart(syntax)).line + 1
}

function directoriesIn(parent: string): string[] {
  const directory = path.join(ROOT, parent)
  if (!existsSync(directory)) return []
  return readdirSync(directory, { withFileTypes: true })
    .filter((item) => item.isDirectory() && existsSync(path.join(directory, item.name, 'package.json')))
    .map((item) => item.name)
    .sort()
}

function sourcesOf(packageName: string): SourceFile[] {
  const source = path.join(ROOT, 'packages', packageName, 'src')
  if (!existsSync(source)) return []
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => {
      const file = path.join(source, name)
      const syntax = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true)
      return {
        path: relative(file),
        packageName,
        folder: relative(file).split('/')[3] ?? name,
        imports: importsOf(file, syntax),
        syntax,
      }
    })
}

function importsOf(file: string, syntax: ts.SourceFile): Import[] {
  const imports: Import[] = []
  const add = (specifier: ts.Node | undefined, kind: Import['kind']): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return // a computed import names its package at run time
    imports.push({ specifier: specifier.text, target: targetOf(file, specifier.text), kind, line: lineOf(syntax, specifier) })
  }
  walk(syntax, (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyImport(node) ? 'type' : 'value')
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'value')
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, 'type')
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic')
  })
  return imports
}

/** Only `import type` vanishes: under verbatimModuleSyntax `import { type A }` leaves an import for its side effects. */
function isTypeOnlyImport({ importClause }: ts.ImportDeclaration): boolean {
  return importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
}

function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return relative(path.resolve(path.dirname(file), specifier.replace(/\.js$/, '.ts')))
  const own = /^@thermocline\/([^/]+)$/.exec(specifier)?.[1]
  return own === undefined ? undefined : `packages/${own}/src/index.ts`
}

function relative(file: string): string {
  return path.relative(ROOT, file).split(path.sep).join('/')
}
