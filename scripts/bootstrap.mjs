// Installs the workspace when it has not been, or when the lockfile changed since. Needs Node and npm only: pnpm comes
// through npx, at the version that package.json names.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { CommandFailed, isMain, phase, ROOT, runQuietly } from './run.mjs'

const LOWEST_NODE = 20
const STAMP = path.join(ROOT, 'node_modules', '.thermocline-installed')

/** Makes node_modules match the lockfile. Silent but for one line; prints what pnpm said only when it fails. */
export async function bootstrap() {
  if (Number.parseInt(process.versions.node, 10) < LOWEST_NODE) {
    console.error(`Thermocline needs Node ${LOWEST_NODE} or newer; this is ${process.version}`)
    process.exit(1)
  }
  await phase('installing', async () => {
    const wanted = fingerprint()
    if (readStamp() === wanted) return 'up to date'
    const { packageManager } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
    const done = await runQuietly('npx', ['-y', packageManager, 'install', '--frozen-lockfile', '--prefer-offline'], { env: { CI: 'true' } })
    if (done.code !== 0) throw new CommandFailed('pnpm install', done)
    writeFileSync(STAMP, wanted)
  })
}

/** What an installation depends on: the lockfile's content (a checkout sets file times anew) and the platform. */
function fingerprint() {
  const hash = createHash('sha256')
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc']) hash.update(readFileSync(path.join(ROOT, file)))
  return `${hash.digest('hex')} ${process.platform}-${process.arch}\n`
}

function readStamp() {
  return existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : undefined
}

if (isMain(import.meta.url)) await bootstrap()
