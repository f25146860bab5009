// Bundles a program with one of the bundlers that people use, as they would: `node bundle.mjs <bundler> <format> <entry> <directory>`.
// A process of its own, because bundlers expect to run in Node itself.
import path from 'node:path'

const [bundler, format, entry, directory] = process.argv.slice(2)
const extension = format === 'esm' ? 'mjs' : 'cjs'
// packages that are CommonJS and ask for Node's own modules need this in an ES module, whatever they are used by
const banner = { js: format === 'esm' ? "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" : '' }

const bundlers = {
  async esbuild() {
    const { build } = await import('esbuild')
    const { warnings } = await build({ entryPoints: [entry], outfile: path.join(directory, `app.${extension}`), bundle: true, platform: 'node', target: 'node20', format, banner, logLevel: 'error' })
    // of a package in node_modules, where a user has this one, esbuild does not tell that
    const told = warnings.filter(({ id }) => id !== 'empty-import-meta')
    if (told.length > 0) throw new Error(JSON.stringify(told))
  },

  async tsup() {
    const { build } = await import('tsup')
    await build({ entry: { app: entry }, outDir: directory, format: [format], platform: 'node', target: 'node20', noExternal: [/.*/], banner, config: false, silent: true, outExtension: () => ({ js: `.${extension}` }) })
  },

  async webpack() {
    const { default: webpack } = await import('webpack')
    const output = format === 'esm' ? { module: true, chunkFormat: 'module', library: { type: 'module' } } : {}
    const compiler = webpack({ mode: 'none', target: 'node20', entry, output: { path: directory, filename: `app.${extension}`, ...output }, experiments: { outputModule: format === 'esm' }, optimization: { minimize: false } })
    const stats = await new Promise((resolve, reject) => compiler.run((error, result) => (error ? reject(error) : resolve(result))))
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true })
    if (errors.length + warnings.length > 0) throw new Error([...errors, ...warnings].map(({ message, moduleName }) => `${moduleName}: ${message}`).join('\n'))
    await new Promise((resolve) => compiler.close(resolve))
  },
}

await bundlers[bundler]()
