// Packs every public package and checks what a user would get: the tarball's content, publint, are-the-types-wrong, that
// the package builds alone, and that a clean npm install of it brings nothing unexpected and works.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { bootstrap } from './bootstrap.mjs'
import { build } from './build.mjs'
import { cacheDirectory, isMain, ROOT, runQuietly, seconds } from './run.mjs'

/**
 * What someone installs, the third-party packages that may arrive with it, and a script that must then run; `computes`: how often it computes, 1 by default;
 * `bringsMore`: the third-party packages may bring others along, too many to name here.
 */
const INSTALLATIONS = [
  {
    packages: ['core', 'memory'],
    thirdParty: ['@opentelemetry/api', 'lru-cache'],
    backend: `import { MemoryBackend } from '@thermocline/memory'
const backend = new MemoryBackend({ maxEntries: 10 })`,
  },
  {
    packages: ['core', 'fs'],
    thirdParty: ['@opentelemetry/api'],
    backend: `import { FileSystemBackend } from '@thermocline/fs'
const backend = new FileSystemBackend({ basePath: './cache' })`,
  },
  {
    packages: ['core', 'redis'],
    thirdParty: ['@ioredis/commands', '@opentelemetry/api', 'cluster-key-slot', 'debug', 'denque', 'ioredis', 'ms', 'redis-errors', 'standard-as-callback'],
    backend: `import { RedisBackend } from '@thermocline/redis'
const backend = new RedisBackend({ port: 1 })`,
    computes: 2, // no server listens there: the cache has to work all the same, and to let the process end
  },
  {
    packages: ['core', 'gcs'],
    thirdParty: ['@google-cloud/storage', '@opentelemetry/api', 'mrmime'],
    bringsMore: true,
    backend: `import { GcsBackend } from '@thermocline/gcs'
const backend = new GcsBackend({ bucket: 'absent', apiEndpoint: 'http://127.0.0.1:1' })`,
    computes: 2, // as above
  },
  {
    packages: ['core', 's3'],
    thirdParty: ['@aws-sdk/client-s3', '@opentelemetry/api', 'mrmime'],
    bringsMore: true,
    backend: `import { S3Backend } from '@thermocline/s3'
const backend = new S3Backend({ bucket: 'artifacts', endpoint: 'http://127.0.0.1:1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } })`,
    computes: 2, // no store listens there either
  },
]

/** Reads twice, closes; plain JavaScript that is TypeScript too. */
const consumer = ({ backend, computes = 1 }) => `import { TieredCacheManager } from '@thermocline/core'
${backend}
const cache = new TieredCacheManager({ tiers: { only: { backend } } })
let computed = 0
const read = () => cache.tenant('acme').getOrCompute('greeting', async () => { computed += 1; return 'hello' })
const values = [await read(), await read()]
await cache.close()
if (values.join() !== 'hello,hello' || computed !== ${computes}) throw new Error('got ' + values.join() + ' after ' + String(computed) + ' computes')
`

const TSC = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')

export async function checkPackages() {
  const startedAt = performance.now()
  const work = mkdtempSync(path.join(os.tmpdir(), 'thermocline-packages-'))
  const tally = { passed: 0, failed: 0 }
  const check = async (name, run) => {
    try {
      await run()
      tally.passed += 1
      console.log(`  ok    ${name}`)
    } catch (error) {
      tally.failed += 1
      console.log(`  FAIL  ${name}\n${indent(error.message)}`)
    }
  }
  try {
    const packages = publicPackages()
    const tarballs = new Map()
    await twoAtATime(packages, async (one) => {
      await check(`${one.folder}: packs`, async () => tarballs.set(one.folder, await pack(one, work)))
      const tarball = tarballs.get(one.folder)
      if (tarball === undefined) return
      await check(`${one.folder}: tarball holds what it should and nothing else`, () => checkContent(one, tarball))
      await check(`${one.folder}: publint`, () => checkWithPublint(one, tarball))
      await check(`${one.folder}: are the types wrong`, () => expectSuccess(process.execPath, [attw(), tarball, '--profile', 'esm-only', '--no-definitely-typed', '--no-color', '--no-emoji']))
      await check(`${one.folder}: builds on its own`, () => buildAlone(one, path.join(work, 'alone', one.folder)))
    })
    await twoAtATime(INSTALLATIONS, async (installation) => {
      const label = `npm install ${installation.packages.join(' + ')}`
      const directory = path.join(work, 'install', installation.packages.join('-'))
      let installed = false
      await check(`${label}: brings ${installation.thirdParty.join(', ')}${installation.bringsMore ? ', what these bring,' : ''} and nothing else`, async () => {
        await install(installation, tarballs, directory)
        installed = true
        checkThirdParty(installation, directory)
      })
      if (!installed) return
      await check(`${label}: runs`, () => expectSuccess(process.execPath, ['consumer.mjs'], directory))
      await check(`${label}: its types compile in a strict project, libraries checked too`, () => expectSuccess(process.execPath, [TSC, '-p', '.'], directory))
    })
    await checkConsumers(path.join(work, 'consumers'), tarballs, check)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  writeFileSync(path.join(cacheDirectory('results'), 'packages.json'), JSON.stringify(tally))
  console.log(`packages: ${tally.passed} passed, ${tally.failed} failed, ${seconds(performance.now() - startedAt)}`)
  return tally
}

/** How TypeScript resolves and compiles, the file that is compiled, and the error that is expected. docs/configuration.md has the same table. */
const COMPILERS = [
  [['--module', 'nodenext'], 'consumer.mts'],
  [['--module', 'nodenext'], 'consumer.cts'],
  [['--module', 'node20'], 'consumer.mts'],
  [['--module', 'node20'], 'consumer.cts'],
  [['--module', 'node18'], 'consumer.mts'],
  [['--module', 'node18'], 'consumer.cts', 'TS1479'],
  [['--module', 'node16'], 'consumer.mts'],
  [['--module', 'node16'], 'consumer.cts', 'TS1479'],
  [['--module', 'esnext', '--moduleResolution', 'bundler'], 'consumer.ts'],
  [['--module', 'preserve'], 'consumer.ts'],
  [['--module', 'commonjs', '--moduleResolution', 'bundler'], 'consumer.ts'],
  [['--module', 'commonjs', '--moduleResolution', 'node10', '--ignoreDeprecations', '6.0'], 'consumer.ts', 'TS2307'],
]

const TYPED_CONSUMER = `import { loadCache } from '@thermocline/config'
import type { TieredCacheManager } from '@thermocline/core'
import * as memory from '@thermocline/memory'
export const cache: Promise<TieredCacheManager> = loadCache({ preset: 'test' }, { adapters: { memory } })
`

const REQUIRING_TEST = `const { mkdtempSync } = require('node:fs')
const { loadCache } = require('@thermocline/config')
const memory = require('@thermocline/memory')
const local = require('@thermocline/fs')

test('a value comes back', async () => {
  const base_path = mkdtempSync(__dirname + '/disk-')
  const cache = await loadCache({ tiers: { hot: { backend: 'memory' }, warm: { backend: 'local', config: { base_path } } } }, { adapters: { memory, local } })
  const key = 'texts/' + 'k'.repeat(500)
  expect(await cache.tenant('acme').getOrCompute(key, () => 'text')).toBe('text')
  expect(await cache.tenant('acme').get(key)).toBe('text')
  await cache.close()
})
`

/** What can import or require the packages: Node, Jest, and TypeScript in each of its ways to resolve. */
async function checkConsumers(directory, tarballs, check) {
  const write = (name, text) => writeFileSync(path.join(directory, name), text)
  await check('consumers: npm install core + config + memory + fs', async () => {
    await installTarballs(['core', 'config', 'memory', 'fs'], tarballs, directory)
    write('consumer.cjs', `for (const name of ['core', 'config', 'memory', 'fs']) require('@thermocline/' + name)`)
    write('requiring.test.cjs', REQUIRING_TEST)
    write('importing.test.mjs', REQUIRING_TEST.replace(/const (.*) = require\('(.*)'\)/g, (_, names, module) => `import ${names.startsWith('{') ? names : `* as ${names}`} from '${module}'`).replace('__dirname', 'import.meta.dirname'))
    for (const name of ['consumer.ts', 'consumer.mts', 'consumer.cts']) write(name, TYPED_CONSUMER)
    const transform = { '\\.c?js$': [path.join(ROOT, 'node_modules', '@swc', 'jest'), { module: { type: 'commonjs' }, jsc: { target: 'es2022' } }] }
    write('jest.cjs.json', JSON.stringify({ testMatch: ['**/requiring.test.cjs'], transform, transformIgnorePatterns: ['/node_modules/(?!@thermocline/)'] }))
    write('jest.esm.json', JSON.stringify({ testMatch: ['**/importing.test.mjs'], moduleFileExtensions: ['mjs', 'js', 'json'], transform: {} }))
  })
  // Node 20.19 and later require ES modules that wait for nothing at their top
  await check('consumers: Node requires them', () => expectSuccess(process.execPath, ['consumer.cjs'], directory))
  const jest = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js')
  await check('consumers: Jest in CommonJS mode requires them, transformed', () => expectSuccess(process.execPath, [jest, '--rootDir', '.', '--config', 'jest.cjs.json'], directory))
  await check('consumers: Jest imports them', () => expectSuccess(process.execPath, ['--experimental-vm-modules', jest, '--rootDir', '.', '--config', 'jest.esm.json'], directory))
  const common = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,esnext.disposable', '--types', 'node', '--typeRoots', path.join(ROOT, 'node_modules', '@types')]
  await twoAtATime(COMPILERS, ([settings, file, error]) =>
    check(`consumers: TypeScript with ${settings.join(' ')} ${error === undefined ? 'compiles' : `refuses with ${error}`} ${file}`, async () => {
      const { code, output } = await runQuietly(process.execPath, [TSC, ...common, ...settings, file], { cwd: directory })
      if (error === undefined ? code !== 0 : !output.includes(error)) throw new Error(output.trim() || `tsc exited with ${code}`)
    }),
  )
}

function publicPackages() {
  const folders = readdirSync(path.join(ROOT, 'packages')).filter((folder) => existsSync(path.join(ROOT, 'packages', folder, 'package.json')))
  return folders
    .map((folder) => ({ folder, directory: path.join(ROOT, 'packages', folder), manifest: readManifest(path.join(ROOT, 'packages', folder)) }))
    .filter(({ manifest }) => manifest.private !== true)
}

/** pnpm, not npm, because only pnpm rewrites `workspace:^`. */
async function pack({ folder, directory }, work) {
  const destination = path.join(work, 'tarballs', folder)
  mkdirSync(destination, { recursive: true })
  await expectSuccess('pnpm', ['pack', '--pack-destination', destination], directory)
  return path.join(destination, readdirSync(destination)[0])
}

async function checkContent({ directory, manifest: { exports } }, tarball) {
  const { stdout } = await expectSuccess('tar', ['-tzf', tarball])
  const files = stdout.trim().split(/\r?\n/).map((file) => file.replace(/^package\//, ''))
  const problems = []
  const { types, default: main } = exports['.']
  for (const wanted of ['package.json', 'LICENSE', 'CHANGELOG.md', path.posix.normalize(main), path.posix.normalize(types)]) if (!files.includes(wanted)) problems.push(`missing: ${wanted}`)
  if (existsSync(path.join(directory, 'README.md')) && !files.includes('README.md')) problems.push('missing: README.md')
  for (const file of files) {
    if (/(^|\/)(test|tests|__tests__|node_modules)\/|\.(test|spec)\.|\.tsbuildinfo$|(^|\/)\.|\.tgz$/.test(file)) problems.push(`should not be there: ${file}`)
  }
  for (const file of files) {
    const source = /^dist\/(.+)\.js$/.exec(file)?.[1]
    if (source !== undefined && source !== 'bundle' && !existsSync(path.join(directory, 'src', `${source}.ts`))) problems.push(`left over from an earlier build (remove dist and build again): ${file}`)
  }
  const manifest = await manifestIn(tarball)
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) if (range.startsWith('workspace:')) problems.push(`not rewritten: ${name} ${range}`)
  if (problems.length > 0) throw new Error(problems.join('\n'))
}

async function checkWithPublint({ manifest }, tarball) {
  const [{ publint }, { formatMessage }] = await Promise.all([import('publint'), import('publint/utils')])
  const bytes = readFileSync(tarball)
  const { messages } = await publint({ pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) }, strict: true })
  if (messages.length > 0) throw new Error(messages.map((message) => `${message.type}: ${formatMessage(message, manifest, { color: false })}`).join('\n'))
}

/** Copies the package and the workspace packages it depends on, sources only, to an empty tree and builds it there. */
async function buildAlone(one, tree) {
  mkdirSync(path.join(tree, 'packages'), { recursive: true })
  for (const file of ['tsconfig.base.json', 'scripts/bundle.mjs']) cpSync(path.join(ROOT, file), path.join(tree, file))
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(tree, 'node_modules'), 'junction')
  for (const folder of withTheirs([one.folder], ['dependencies', 'peerDependencies'])) {
    const directory = path.join(ROOT, 'packages', folder)
    const target = path.join(tree, 'packages', folder)
    mkdirSync(target)
    for (const name of readdirSync(directory)) {
      if (name === 'dist' || name === 'test') continue
      cpSync(path.join(directory, name), path.join(target, name), { recursive: true, verbatimSymlinks: true })
    }
  }
  const target = path.join(tree, 'packages', one.folder)
  await expectSuccess('npm', ['run', 'build', '--silent'], target)
  const { default: main } = one.manifest.exports['.']
  if (!existsSync(path.join(target, main))) throw new Error(`the build left no ${main}`)
}

async function install(installation, tarballs, directory) {
  await installTarballs(installation.packages, tarballs, directory, { type: 'module' })
  writeFileSync(path.join(directory, 'consumer.mjs'), consumer(installation))
  writeFileSync(path.join(directory, 'consumer.ts'), consumer(installation))
  const compilerOptions = {
    ...{ target: 'es2022', lib: ['es2022', 'esnext.disposable'], module: 'nodenext', strict: true, exactOptionalPropertyTypes: true, noEmit: true },
    ...{ skipLibCheck: false, types: ['node'], typeRoots: [path.join(ROOT, 'node_modules', '@types')] },
  }
  writeFileSync(path.join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }))
}

async function installTarballs(packages, tarballs, directory, more = {}) {
  mkdirSync(directory, { recursive: true })
  const files = withTheirs(packages, ['dependencies']).map((folder) => tarballs.get(folder))
  if (files.includes(undefined)) throw new Error('a package could not be packed')
  writeFileSync(path.join(directory, 'package.json'), JSON.stringify({ private: true, ...more }))
  // One command, so that what packages need of each other is met by the other tarballs, not by the registry.
  await expectSuccess('npm', ['install', ...files, '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error'], directory)
}

/** These packages and those of ours that they depend on, by these fields of their manifests. */
function withTheirs(folders, fields) {
  const found = new Set(folders)
  for (const folder of found) {
    const manifest = readManifest(path.join(ROOT, 'packages', folder))
    for (const name of fields.flatMap((field) => Object.keys(manifest[field] ?? {}))) if (name.startsWith('@thermocline/')) found.add(name.slice('@thermocline/'.length))
  }
  return [...found]
}

function checkThirdParty({ thirdParty, bringsMore = false }, directory) {
  const { packages } = JSON.parse(readFileSync(path.join(directory, 'node_modules', '.package-lock.json'), 'utf8'))
  const nameOf = (location) => location.replace(/^.*node_modules\//, '')
  const found = Object.keys(packages).map(nameOf).filter((name) => !name.startsWith('@thermocline/')).sort()
  const expected = bringsMore ? found.filter(reachable(thirdParty, Object.entries(packages).map(([location, one]) => [nameOf(location), one]))) : [...thirdParty].sort()
  const missing = thirdParty.filter((name) => !found.includes(name))
  if (missing.length > 0 || found.join() !== expected.join()) throw new Error(`installed: ${found.join(', ')}`)
}

/** Whether a package is one of these, or is brought along by one of them. */
function reachable(roots, packages) {
  const reached = new Set(roots)
  for (const name of reached) {
    for (const [other, { dependencies, optionalDependencies, peerDependencies }] of packages) {
      if (other === name) for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) reached.add(dependency)
    }
  }
  return (name) => reached.has(name)
}

async function manifestIn(tarball) {
  const { stdout } = await expectSuccess('tar', ['-xzOf', tarball, 'package/package.json'])
  return JSON.parse(stdout)
}

async function expectSuccess(command, args, cwd = ROOT) {
  const done = await runQuietly(command, args, { cwd })
  if (done.code !== 0) throw new Error(done.output.trim() || `${command} exited with ${done.code}`)
  return done
}

const readManifest = (directory) => JSON.parse(readFileSync(path.join(directory, 'package.json'), 'utf8'))

const attw = () => {
  const directory = path.join(ROOT, 'node_modules', '@arethetypeswrong', 'cli')
  return path.join(directory, readManifest(directory).bin.attw)
}

const indent = (text) => text.replace(/^/gm, '          ')

async function twoAtATime(items, work) {
  const waiting = [...items]
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item)
  }
  await Promise.all([worker(), worker()])
}

if (isMain(import.meta.url)) {
  await bootstrap()
  await build()
  const { failed } = await checkPackages()
  process.exit(failed === 0 ? 0 : 1)
}
