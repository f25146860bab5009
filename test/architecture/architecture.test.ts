import { describe, expect, test } from '@jest/globals'
import { builtinModules } from 'node:module'
import ts from 'typescript'
import { cyclesIn } from './cycles.js'
import { type Import, lineOf, manifestOf, PACKAGES, SOURCES, type SourceFile, walk, WORKSPACE } from './sources.js'

/** What each package may import of the others. `dynamic`: only by `import()`, when a configuration names it. */
const PACKAGE_IMPORTS: Readonly<Record<string, { readonly always: readonly string[]; readonly dynamic?: readonly string[] }>> = {
  backend: { always: [] },
  core: { always: ['backend'] },
  'object-store': { always: ['backend'] },
  memory: { always: ['backend'] },
  fs: { always: ['backend'] },
  redis: { always: ['backend'] },
  s3: { always: ['backend', 'object-store'] },
  gcs: { always: ['backend', 'object-store'] },
  testkit: { always: ['backend', 'core'] },
  config: { always: ['backend', 'core'], dynamic: ['memory', 'fs', 'redis', 's3', 'gcs'] },
}

/**
 * The folders of the packages that have some, lowest first. A folder may import those in its row, type-only imports
 * included; a row names only rows above it, so imports point one way.
 */
const FOLDERS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  backend: {
    errors: [],
    clock: ['errors'],
    time: ['errors', 'clock'],
    keys: ['errors'],
    contract: ['errors', 'clock', 'keys'],
    frame: ['errors', 'clock', 'keys', 'contract'],
    values: [],
    'index.ts': ['errors', 'clock', 'time', 'keys', 'contract', 'frame', 'values'],
  },
  core: {
    'version.ts': [],
    layers: [],
    codec: ['layers'],
    flights: [],
    telemetry: ['version.ts'],
    tiers: ['layers', 'flights'],
    policies: ['codec', 'tiers'],
    state: ['codec', 'flights', 'policies', 'tiers'],
    'write-back': ['layers', 'flights', 'tiers', 'policies', 'state'],
    operation: ['codec', 'flights', 'telemetry', 'tiers', 'policies', 'state', 'write-back'],
    promotion: ['codec', 'flights', 'tiers', 'policies', 'state', 'operation'],
    reading: ['codec', 'flights', 'telemetry', 'tiers', 'policies', 'state', 'operation', 'promotion'],
    invalidation: ['tiers', 'policies', 'state', 'write-back', 'operation'],
    writing: ['codec', 'flights', 'tiers', 'policies', 'write-back', 'operation', 'invalidation'],
    streams: ['codec', 'flights', 'tiers', 'policies', 'state', 'write-back', 'operation', 'promotion', 'reading', 'invalidation', 'writing'],
    coordination: ['flights', 'tiers', 'state', 'operation', 'invalidation'],
    computing: ['codec', 'flights', 'telemetry', 'tiers', 'policies', 'state', 'operation', 'promotion', 'reading', 'writing', 'streams'],
    manager: ['layers', 'codec', 'flights', 'telemetry', 'tiers', 'policies', 'state', 'write-back', 'operation', 'promotion', 'reading', 'invalidation', 'writing', 'streams', 'coordination', 'computing'],
    'index.ts': ['version.ts', 'layers', 'codec', 'telemetry', 'tiers', 'policies', 'state', 'write-back', 'flights', 'reading', 'streams', 'computing', 'manager'],
  },
}

/** Places that break a rule, and why they may. A place that no longer does has to leave the list. */
const CLOCK_EXCEPTIONS: Readonly<Record<string, string>> = {
  'packages/backend/src/contract/entry.ts: Date.now': 'an arbitrary origin for compact instants, read once; no decision depends on it',
}

describe('packages', () => {
  test('every package has a row in the table of allowed imports', () => {
    expect(Object.keys(PACKAGE_IMPORTS).sort()).toEqual([...PACKAGES].sort())
  })

  test.each(PACKAGES)('%s imports only the packages below it', (name) => {
    const { always, dynamic = [] } = PACKAGE_IMPORTS[name] ?? { always: [] }
    const wrong = importsOf(name)
      .map(({ file, found }) => ({ file, found, other: /^@thermocline\/([^/]+)/.exec(found.specifier)?.[1] }))
      .filter(({ found, other }) => other !== undefined && !always.includes(other) && !(found.kind === 'dynamic' && dynamic.includes(other)))
    expect(wrong.map(describeImport)).toEqual([])
  })

  test.each(PACKAGES)('%s reaches other packages by their name, never by a path', (name) => {
    const wrong = importsOf(name).filter(({ found }) => found.specifier.startsWith('.') && found.target?.startsWith(`packages/${name}/src/`) !== true)
    expect(wrong.map(describeImport)).toEqual([])
  })

  test.each(PACKAGES.filter((name) => SOURCES.some((file) => file.packageName === name)))('%s depends at run time on what it imports, and on nothing else', (name) => {
    const { dependencies = {}, peerDependencies = {} } = manifestOf(`packages/${name}`)
    const imported = new Set(importsOf(name).flatMap(({ found }) => (found.kind === 'dynamic' ? [] : (registryPackage(found.specifier) ?? []))))
    const declared = new Set([...Object.keys(dependencies), ...Object.keys(peerDependencies)])
    expect({ undeclared: [...imported].filter((dependency) => !declared.has(dependency)), unused: Object.keys(dependencies).filter((dependency) => !imported.has(dependency)) }).toEqual({
      undeclared: [],
      unused: [],
    })
  })

  test("core's runtime dependencies are the OpenTelemetry API and backend, and backend has none", () => {
    expect(Object.keys(manifestOf('packages/core').dependencies ?? {})).toEqual(['@opentelemetry/api', '@thermocline/backend'])
    expect(manifestOf('packages/backend').dependencies).toBeUndefined()
  })
})

describe.each(Object.entries(FOLDERS))("%s's folders", (name, table) => {
  test('the table is ordered: a row names only rows above it', () => {
    const folders = Object.keys(table)
    const upward = Object.entries(table).flatMap(([folder, allowed]) =>
      allowed.filter((other) => !folders.includes(other) || folders.indexOf(other) >= folders.indexOf(folder)).map((other) => `${folder} -> ${other}`),
    )
    expect(upward).toEqual([])
  })

  test('every folder has a row and every row a folder', () => {
    const folders = new Set(filesOf(name).map((file) => file.folder))
    expect([...folders].sort()).toEqual(Object.keys(table).sort())
  })

  test('imports point one way', () => {
    const wrong = new Map<string, string>()
    for (const { file, found } of importsOf(name)) {
      if (found.target?.startsWith(`packages/${name}/src/`) !== true) continue
      const folder = found.target.split('/')[3] ?? ''
      if (folder === file.folder || table[file.folder]?.includes(folder) === true) continue
      wrong.set(`${file.path} -> ${folder}`, describeImport({ file, found }))
    }
    expect([...wrong.values()]).toEqual([])
  })
})

describe('public names', () => {
  test('core has at most 48', () => {
    const names = filesOf('core').filter((file) => file.folder === 'index.ts').flatMap(({ syntax }) => syntax.statements.flatMap((statement) =>
      ts.isExportDeclaration(statement) && statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause) ? statement.exportClause.elements.map((element) => element.name.text) : []))
    expect(names).toContain('TieredCacheManager')
    expect(names.length).toBeLessThanOrEqual(48)
  })
})

describe('cycles', () => {
  test('would be found', () => {
    const graph = new Map(Object.entries({ a: ['b'], b: ['c', 'd'], c: ['a'], d: ['d'], e: ['a', 'd'] }))
    expect(cyclesIn(graph)).toEqual([['d'], ['a', 'b', 'c']])
  })

  test('no file imports itself by way of others at run time', () => {
    expect(cyclesIn(graphOf((found) => found.kind === 'value'))).toEqual([])
  })

  test('nor does it when type-only and dynamic imports are counted', () => {
    expect(cyclesIn(graphOf(() => true))).toEqual([])
  })

  test('every relative import leads to a file', () => {
    const paths = new Set(SOURCES.map((file) => file.path))
    const wrong = PACKAGES.flatMap((name) => importsOf(name)).filter(({ found }) => found.specifier.startsWith('.') && !paths.has(found.target ?? ''))
    expect(wrong.map(describeImport)).toEqual([])
  })
})

describe('time', () => {
  test('comes from the clock alone', () => {
    const wrong = new Map<string, string>()
    for (const file of SOURCES) {
      if (file.path.startsWith('packages/backend/src/clock/')) continue
      for (const { what, line } of clockReadings(file)) wrong.set(`${file.path}: ${what}`, `${file.path}:${line} ${what}`)
    }
    expect(notExcepted(wrong, CLOCK_EXCEPTIONS)).toEqual([])
  })
})

describe('syntax', () => {
  test('index files list their names: no `export *`', () => {
    expect(places((node) => ts.isExportDeclaration(node) && (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause)))).toEqual([])
  })

  test('nothing is exported as default', () => {
    const isDefault = (node: ts.Node): boolean =>
      ts.isExportAssignment(node) || node.kind === ts.SyntaxKind.DefaultKeyword && !ts.isDefaultClause(node.parent) || ts.isExportSpecifier(node) && node.name.text === 'default'
    expect(places(isDefault)).toEqual([])
  })

  test('there is no enum', () => {
    expect(places((node) => ts.isEnumDeclaration(node))).toEqual([])
  })

  test('there is no any', () => {
    expect(places((node) => node.kind === ts.SyntaxKind.AnyKeyword)).toEqual([])
  })
})

describe('manifests', () => {
  test("core's VERSION is the version of its package", () => {
    const declaration = /VERSION = '([^']+)'/.exec(filesOf('core').find((file) => file.folder === 'version.ts')?.syntax.text ?? '')
    expect(declaration?.[1]).toBe(manifestOf('packages/core').version)
  })

  test.each(WORKSPACE)('%s: Node 20 or newer, MIT, ES modules', (directory) => {
    expect(manifestOf(directory)).toMatchObject({ engines: { node: '>=20' }, license: 'MIT', type: 'module' })
  })

  test.each(WORKSPACE.filter((directory) => !directory.startsWith('packages/')))('%s is private', (directory) => {
    expect(manifestOf(directory).private).toBe(true)
  })

  test.each(PACKAGES)('%s has no side effects on import and names the types of every entry first', (name) => {
    const { exports = {}, sideEffects, private: isPrivate, name: published } = manifestOf(`packages/${name}`)
    expect({ published, sideEffects, isPrivate }).toEqual({ published: `@thermocline/${name}`, sideEffects: false, isPrivate: undefined })
    const entries = Object.values(exports).filter((entry) => typeof entry !== 'string')
    expect(entries.length).toBeGreaterThan(0)
    for (const entry of entries) expect(Object.keys(entry)).toEqual(['types', 'default'])
  })
})

interface FoundImport {
  readonly file: SourceFile
  readonly found: Import
}

function filesOf(packageName: string): SourceFile[] {
  return SOURCES.filter((file) => file.packageName === packageName)
}

function importsOf(packageName: string): FoundImport[] {
  return filesOf(packageName).flatMap((file) => file.imports.map((found) => ({ file, found })))
}

function describeImport({ file, found }: FoundImport): string {
  return `${file.path}:${found.line} imports ${found.specifier} (${found.kind})`
}

/** `@scope/name` or `name` of an import from the registry; `undefined` for Node's modules and the package's own files. */
function registryPackage(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:') || builtinModules.includes(specifier)) return undefined
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
}

function graphOf(counts: (found: Import) => boolean): Map<string, string[]> {
  return new Map(SOURCES.map((file) => [file.path, file.imports.flatMap((found) => (found.target !== undefined && counts(found) ? [found.target] : []))]))
}

/** The violations without an exception, and the exceptions without a violation. */
function notExcepted(wrong: ReadonlyMap<string, string>, exceptions: Readonly<Record<string, string>>): string[] {
  const unexpected = [...wrong].filter(([place]) => !(place in exceptions)).map(([, description]) => description)
  const outdated = Object.keys(exceptions).filter((place) => !wrong.has(place))
  return [...unexpected, ...outdated.map((place) => `no longer needs its exception: ${place}`)]
}

function places(matches: (node: ts.Node) => boolean): string[] {
  const found: string[] = []
  for (const { syntax, path } of SOURCES) {
    walk(syntax, (node) => {
      if (matches(node)) found.push(`${path}:${lineOf(syntax, node)}`)
    })
  }
  return found
}

const CLOCK_MEMBERS = ['Date.now', 'performance.now', 'process.hrtime', 'AbortSignal.timeout']
const TIMERS = ['setTimeout', 'setInterval']
const TIMER_MODULES = /^(node:)?timers(\/promises)?$/

/** Where a file reads the time or starts a timer itself, also by passing the function on. `new Date(ms)` only converts. */
function clockReadings({ syntax, imports }: SourceFile): { what: string; line: number }[] {
  const found = imports.filter(({ specifier }) => TIMER_MODULES.test(specifier)).map(({ specifier, line }) => ({ what: specifier, line }))
  walk(syntax, (node) => {
    const what = clockReading(node)
    if (what !== undefined) found.push({ what, line: lineOf(syntax, node) })
  })
  return found
}

function clockReading(node: ts.Node): string | undefined {
  if (ts.isNewExpression(node)) return node.expression.getText() === 'Date' && (node.arguments?.length ?? 0) === 0 ? 'new Date()' : undefined
  if (ts.isPropertyAccessExpression(node)) {
    const member = node.getText().replace(/^globalThis\./, '')
    return CLOCK_MEMBERS.includes(member) || TIMERS.includes(member) ? member : undefined
  }
  const isTimer = ts.isIdentifier(node) && TIMERS.includes(node.text) && !ts.isPropertyAccessExpression(node.parent) && !ts.isTypeQueryNode(node.parent)
  return isTimer ? node.text : undefined
}
