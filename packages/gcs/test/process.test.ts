import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import type { GcsBackendOptions } from '@thermocline/gcs'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy } from '../../../test/support/proxy.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { onStrictServer } from './support/shelf.js'

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'child.mjs')
const EXITS_WITHIN_MS = 2500

/** Runs a process with a work of child.mjs; an unhandled rejection or event makes it exit with 1. Returns when it was done and how. */
async function run(work: string, gcs: GcsBackendOptions, close: boolean): Promise<{ code: unknown; lateMs: number; output: string }> {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify({ work, close, gcs })], { stdio: ['ignore', 'pipe', 'pipe'] })
  afterwards(() => child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [code] = (await once(child, 'close')) as [unknown]
  return { code, lateMs: Date.now() - Number(/done (\d+)/.exec(output)?.[1]), output }
}

onStrictServer('the process', (stage) => {
  const options = (apiEndpoint = stage.server.endpoint): GcsBackendOptions => ({ bucket: stage.bucket, apiEndpoint, prefix: 'process', lifecycleRules: [{ expirationDays: 1 }] })

  test.each([
    ['visit', true],
    ['visit', false],
    ['forgetful', true],
  ])('exits when it has nothing left to do: %s, closed: %s', async (work, close) => {
    const { code, lateMs, output } = await run(work, options(), close)
    expect([code, output]).toEqual([0, expect.stringMatching(/^done .*\n$/)])
    expect(lateMs).toBeLessThan(EXITS_WITHIN_MS)
  }, 30_000)

  test.each([true, false])('exits when nobody listens, closed: %s', async (close) => {
    const { code, output } = await run('alone', options(`http://127.0.0.1:${await freePort()}`), close)
    expect([code, output]).toEqual([0, expect.stringMatching(/^done .*\n$/)])
  }, 30_000)

  test('exits when nobody answers', async () => {
    const proxy = await startProxy(stage.server.port)
    await proxy.blackHole()
    const { code, lateMs, output } = await run('alone', options(`http://127.0.0.1:${proxy.port}`), true)
    expect([code, output]).toEqual([0, expect.stringMatching(/^done .*\n$/)])
    expect(lateMs).toBeLessThan(EXITS_WITHIN_MS)
  }, 30_000)
})
