/*
 * Importing in a fresh process, and the third-party packages that an installation brings along. Measured inside the new
 * process around the imports, so starting Node itself is not counted.
 */
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

function imported(...names) {
  const script = `const s = process.hrtime.bigint(); for (const n of ${JSON.stringify(names)}) await import(n); console.log(Number(process.hrtime.bigint() - s) / 1e6)`
  return () => ({
    async sample() {
      const packages = thirdParty(names)
      const ms = await new Promise((resolve, reject) => {
        execFile(process.execPath, ['--input-type=module', '-e', script], { cwd: HERE }, (error, out) => (error === null ? resolve(Number(out)) : reject(error)))
      })
      return { ms, packages }
    },
  })
}

/** How many packages of others these install, with all they need; optional peers are left out. */
function thirdParty(names) {
  const found = new Map()
  const visit = (name, from) => {
    const manifest = manifestOf(name, from)
    if (manifest === undefined || found.has(manifest.path)) return
    found.set(manifest.path, name)
    for (const dependency of Object.keys(manifest.content.dependencies ?? {})) visit(dependency, path.dirname(manifest.path))
  }
  for (const name of names) visit(name.split('/drivers/')[0], HERE)
  return [...found.values()].filter((name) => !name.startsWith('@thermocline/')).length
}

function manifestOf(name, from) {
  for (let dir = from; ; dir = path.dirname(dir)) {
    const file = path.join(dir, 'node_modules', name, 'package.json')
    if (fs.existsSync(file)) return { path: fs.realpathSync(file), content: JSON.parse(fs.readFileSync(file, 'utf8')) }
    if (path.dirname(dir) === dir) return undefined
  }
}

export const importCases = [
  {
    name: 'import',
    title: 'import in a fresh process',
    kind: 'sample',
    rounds: 25,
    warmUpSamples: 1,
    contenders: {
      'thermocline: core and memory': imported('@thermocline/core', '@thermocline/memory'),
      'thermocline: core, memory and fs': imported('@thermocline/core', '@thermocline/memory', '@thermocline/fs'),
      'lru-cache': imported('lru-cache'),
      '@opentelemetry/api': imported('@opentelemetry/api'),
      'layered-loader': imported('layered-loader'),
      bentocache: imported('bentocache', 'bentocache/drivers/memory'),
      cacheable: imported('cacheable'),
      'async-cache-dedupe': imported('async-cache-dedupe'),
      cacache: imported('cacache'),
    },
    columns: { ms: 'ms', packages: 'third-party packages' },
    bars: [
      { what: 'import of core and memory, ms', of: 'thermocline: core and memory', number: 'ms', atMost: 40, peer: 'layered-loader' },
      { what: 'third-party packages of core and memory', of: 'thermocline: core and memory', number: 'packages', atMost: 2, peer: 'layered-loader' },
    ],
  },
]
