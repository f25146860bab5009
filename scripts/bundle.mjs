// Makes one file of a built package: an import then opens one file instead of sixty. Run in the package's directory after
// `tsc -b`; other packages stay imports. Source maps lead to the TypeScript.
import { readFileSync } from 'node:fs'
import { build } from 'esbuild'

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))
await build({
  entryPoints: ['dist/index.js'],
  outfile: exports['.'].default,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
})
