/*
 * The servers of the tests, for the benchmark. They are TypeScript and made for jest, so what is needed of them is bundled first, with a jest that
 * does nothing.
 */
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const SUPPORT = path.join(HERE, '..', '..', 'test', 'support')
const WITHOUT_JEST = 'export const afterAll = () => undefined; export const describe = Object.assign(() => undefined, { skip: () => undefined })'

/**
 * @param contents a module, with imports as from test/support
 * @returns the file, beside the packages that it may import; whoever asks removes it
 */
export async function bundleOfSupport(name, contents) {
  const outfile = path.join(HERE, '..', 'node_modules', '.cache', `${name}-${process.pid}.mjs`)
  await build({
    stdin: { contents, resolveDir: SUPPORT },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    external: ['@aws-sdk/*'],
    logLevel: 'error',
    plugins: [{ name: 'without jest', setup: withoutJest }],
  })
  return outfile
}

function withoutJest({ onResolve, onLoad }) {
  onResolve({ filter: /^@jest\/globals$/ }, () => ({ path: 'jest', namespace: 'none' }))
  onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: WITHOUT_JEST }))
  // a program of node's own, which stays a module of its own: it asks where it lies
  onResolve({ filter: /binaries\.mjs$/ }, () => ({ path: pathToFileURL(path.join(SUPPORT, 'servers', 'binaries.mjs')).href, external: true }))
}
