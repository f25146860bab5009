import { build } from 'esbuild'

const [app, outfile] = process.argv.slice(2) // node build.mjs src/app.mjs dist/app.mjs

await build({
  entryPoints: [app],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // packages that are CommonJS (yaml, ioredis) ask for Node's own modules
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" },
})
