import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(path.join(root, 'docs', 'streams-and-write-back.md'), 'utf8')

/** What stands in the application around an example that does not make its own. */
const AROUND = `import type { TenantCache, TieredCacheManager } from '@thermocline/core'
declare const cache: TieredCacheManager
declare const acme: TenantCache
`

test('every example of docs/streams-and-write-back.md compiles', () => {
  const blocks = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '')
  expect(blocks.length).toBeGreaterThan(3)
  const sources = new Map(blocks.map((block, at) => [path.join(root, 'test', `example-${at}.ts`), `${block.includes('new TieredCacheManager') ? '' : AROUND}${block}`]))
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.tests.json'), (file) => ts.sys.readFile(file)) as { config: { compilerOptions: object; include?: unknown } }
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ['x.ts'] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  host.fileExists = (file) => sources.has(file) || ts.sys.fileExists(file)
  host.readFile = (file) => sources.get(file) ?? ts.sys.readFile(file)
  const program = ts.createProgram([...sources.keys()], options, host)
  const problems = [...sources.keys()].flatMap((file) => {
    const source = program.getSourceFile(file)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
  })
  expect(problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
}, 120_000)
