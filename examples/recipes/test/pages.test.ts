import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const HERE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const PAGES = path.resolve(HERE, '../../docs/recipes')
const sources = ['src', 'test'].flatMap((folder) =>
  readdirSync(path.join(HERE, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => readFileSync(path.join(parentPath, name), 'utf8')),
)
const blocks = readdirSync(PAGES).flatMap((page) => [...readFileSync(path.join(PAGES, page), 'utf8').matchAll(/^```(?:ts|js|json)\n(.*?)^```$/gms)].map(([, code = '']) => [page, code] as const))

test('every recipe has code', () => {
  expect(new Set(blocks.map(([page]) => page)).size).toBe(readdirSync(PAGES).filter((page) => page !== 'README.md').length)
})

test.each(blocks)('%s shows what is compiled and run', (_page, code) => {
  expect(sources.some((source) => source.includes(code)) ? 'in the sources' : `not in the sources:\n${code}`).toBe('in the sources')
})
