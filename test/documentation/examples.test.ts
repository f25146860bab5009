import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Their examples are compiled elsewhere, or use what is not installed here. */
const LEFT_OUT = ['writing-an-adapter.md', 'configuration.md', 'telemetry.md']
const PAGES = ['README.md', ...readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md') && !LEFT_OUT.includes(name)).map((name) => path.join('docs', name))]

/** What stands in the application around an example that does not make its own. */
const AROUND: Readonly<Record<string, string>> = {
  cache: "declare const cache: import('@thermocline/core').TieredCacheManager",
  acme: "declare const acme: import('@thermocline/core').TenantCache",
  vector: 'declare const vector: Float32Array',
  readDocument: 'declare function readDocument(id: string, options: { signal: AbortSignal }): Promise<string>',
  embed: 'declare function embed(text: string): Promise<Float32Array>',
  embedAll: 'declare function embedAll(texts: string[], signal: AbortSignal): Promise<Float32Array[]>',
  render: "declare function render(id: string, options: { signal: AbortSignal }): Promise<import('node:stream').Readable>",
  alertSomebody: 'declare function alertSomebody(...about: unknown[]): void',
  allClear: 'declare function allClear(tier: string): void',
}

function inItsPlace(block: string): string {
  const around = Object.entries(AROUND).filter(([name]) => !new RegExp(`\\bconst ${name} =`).test(block))
  return [...around.map(([, declaration]) => declaration), 'export {}', block].join('\n')
}

test('every example compiles', () => {
  const blocks = PAGES.flatMap((page) => [...readFileSync(path.join(root, page), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, block = ''], at) => [`${page.replaceAll(/\W/g, '-')}-${at}`, block] as const))
  expect(blocks.length).toBeGreaterThan(15)
  const sources = new Map(blocks.map(([name, block]) => [path.join(root, 'test', `${name}.ts`), inItsPlace(block)]))
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.tests.json'), (file) => ts.sys.readFile(file)) as { config: { compilerOptions: object; include?: unknown } }
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ['x.ts'] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  host.fileExists = (file) => sources.has(file) || ts.sys.fileExists(file)
  host.readFile = (file) => sources.get(file) ?? ts.sys.readFile(file)
  const program = ts.createProgram([...sources.keys()], options, host)
  const problems = [...sources.keys()].flatMap((file) => {
    const source = program.getSourceFile(file)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(({ messageText }) => `${path.basename(file)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
  })
  expect(problems).toEqual([])
}, 120_000)
