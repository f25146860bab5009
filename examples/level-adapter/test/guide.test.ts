import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const EXAMPLE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const guide = readFileSync(path.resolve(EXAMPLE, '../../docs/writing-an-adapter.md'), 'utf8')
const sources = ['.', 'src', 'test'].flatMap((folder) =>
  readdirSync(path.join(EXAMPLE, folder))
    .filter((name) => /\.(ts|json|yaml)$/.test(name))
    .map((name) => readFileSync(path.join(EXAMPLE, folder, name), 'utf8')),
)
const blocks = [...guide.matchAll(/^```(?:ts|json|yaml)\n(.*?)^```$/gms)].map(([, code = '']) => code)

test('the guide has a code block for each section that needs one', () => {
  expect(blocks.length).toBeGreaterThan(15)
})

test.each(blocks.map((code) => [code.trim().split('\n', 1)[0], code]))('the guide shows the example as it is: %s', (_firstLine, code) => {
  expect(sources.some((source) => `\n${source}`.includes(`\n${code}`)) ? 'in the example' : `not in the example:\n${code}`).toBe('in the example')
})
