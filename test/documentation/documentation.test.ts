import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { parseConfig } from '@thermocline/config'
import { TieredCacheManager } from '@thermocline/core'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Its blocks are excerpts of the compiled example, and compared with it in a test of its own. */
const EXCERPTS = path.join('docs', 'writing-an-adapter.md')
const PAGES = ['README.md', ...readdirSync(path.join(root, 'docs'), { recursive: true }).map((name) => path.join('docs', String(name))).filter((name) => name.endsWith('.md'))]

function blocks(page: string, language: string): string[] {
  const text = readFileSync(path.join(root, page), 'utf8')
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '')
}

/** What the headings of a page are called in links, as GitHub makes it. */
function anchorsOf(page: string): string[] {
  const text = readFileSync(path.join(root, page), 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '')
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').trim().replaceAll(' ', '-'))
}

function syntaxErrors(code: string): unknown[] {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  return (ts.transpileModule(code, { reportDiagnostics: true, compilerOptions }).diagnostics ?? []).map(({ messageText }) => messageText)
}

describe.each(PAGES)('%s', (page) => {
  test('links to pages and folders that exist', () => {
    const text = readFileSync(path.join(root, page), 'utf8')
    const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '').filter((link) => !/^[a-z]+:/.test(link))
    const broken = links.filter((link) => statSync(path.resolve(root, path.dirname(page), link), { throwIfNoEntry: false }) === undefined)
    expect(broken).toEqual([])
  })

  test('links to headings that exist', () => {
    const links = [...readFileSync(path.join(root, page), 'utf8').matchAll(/\]\(([^)#\s]*)#([^)]*)\)/g)].filter(([, link = '']) => !/^[a-z]+:/.test(link))
    const broken = links.filter(([, link = '', anchor = '']) => !anchorsOf(link === '' ? page : path.join(path.dirname(page), link)).includes(anchor)).map(([whole]) => whole)
    expect(broken).toEqual([])
  })

  test('shows TypeScript that parses', () => {
    for (const code of page === EXCERPTS ? [] : blocks(page, 'ts')) expect(syntaxErrors(code)).toEqual([])
  })
})

/** Variables that stand in the pages' configurations without a default. */
const ENVIRONMENT = { REDIS_PASSWORD: 'secret' }

describe.each(PAGES.filter((page) => blocks(page, 'yaml').length > 0))('the YAML in %s', (page) => {
  test.each(blocks(page, 'yaml').map((text, index) => [index + 1, text] as const))('parses, and loads where it is a configuration: block %i', (_, text) => {
    for (const document of parseAllDocuments(text)) {
      expect([...document.errors, ...document.warnings]).toEqual([])
      const content = document.toJS() as Readonly<Record<string, unknown>>
      if ('caching' in content || 'tiers' in content || 'preset' in content) expect(() => parseConfig(content as never, { env: ENVIRONMENT })).not.toThrow()
    }
  })
})

describe('the README', () => {
  test('shows YAML that loads', () => {
    const [yaml] = blocks('README.md', 'yaml')
    const { tiers, policies } = parseConfig(yaml ?? '')
    expect(Object.keys(tiers)).toEqual(['hot', 'shared', 'warm'])
    expect(Object.keys(policies ?? {})).toEqual(['embeddings', 'search_results'])
  })
})

test('every page is in the list of docs/README.md', () => {
  const list = readFileSync(path.join(root, 'docs', 'README.md'), 'utf8')
  const missing = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md' && !list.includes(`](${name})`))
  expect(missing).toEqual([])
})

describe.each(PAGES.filter((page) => page !== EXCERPTS))('%s', (page) => {
  test('names verbs that exist', () => {
    const code = blocks(page, 'ts').join('\n')
    const verbs = new Set([...code.matchAll(/\b(?:acme|cache)\.(\w+)\(/g)].map((match) => match[1] ?? ''))
    expect([...verbs].filter((verb) => !(verb in TieredCacheManager.prototype))).toEqual([])
  })
})
