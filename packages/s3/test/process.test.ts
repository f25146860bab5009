import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, jest, test } from '@jest/globals'
import { crc32 } from '@thermocline/backend'
import type { S3BackendOptions } from '@thermocline/s3'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { freshPrefix, onBucket, optionsFor } from './support/shelf.js'

jest.setTimeout(60_000)

const CHILD = path.join(import.meta.dirname, 'support', 'child.mjs')
const run = promisify(execFile)

interface Told {
  readonly done?: number
  readonly before?: number
  readonly written?: number
  readonly read?: number
  readonly crc?: number
}

/** Runs a child to its end; how long it took to exit after its work was done, what it said, and what it wrote to the error stream. */
async function child(command: object): Promise<{ told: Told; exitMs: number; stderr: string }> {
  const { stdout, stderr } = await run(process.execPath, [CHILD, JSON.stringify(command)], { timeout: 40_000, env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' } })
  const told = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Told
  return { told, exitMs: Date.now() - (told.done ?? Date.now()), stderr }
}

onBucket('a process', (stage) => {
  const s3 = (): S3BackendOptions => ({ ...optionsFor(stage.server, stage.bucket), prefix: freshPrefix() })

  test.each([[true], [false]])('exits when its work is done (the cache was closed: %p)', async (close) => {
    const { exitMs, stderr } = await child({ work: 'visit', s3: s3(), close })
    expect(exitMs).toBeLessThan(3000)
    expect(stderr).toBe('')
  })

  test.each([[true], [false]])('exits also when nobody answers (the cache was closed: %p)', async (close) => {
    const { exitMs, stderr } = await child({ work: 'alone', s3: { ...s3(), endpoint: `http://127.0.0.1:${await freePort()}` }, close })
    expect(exitMs).toBeLessThan(4000)
    expect(stderr).toBe('')
  })

  test('that never asks the store does not load the SDK', async () => {
    const { stderr } = await child({ work: 'nothing', s3: s3() })
    expect(stderr).toBe('')
    const trace = await run(process.execPath, ['--trace-warnings', '-e', `import('@thermocline/s3').then(() => process.stdout.write(Object.keys(require('node:module')._cache).filter((file) => file.includes('aws-sdk')).join()))`], { cwd: import.meta.dirname })
    expect(trace.stdout).toBe('')
  })

  test('streams 100 MB in and out again in bounded memory', async () => {
    const file = path.join(temporaryDirectory(), 'large')
    const { told, stderr } = await child({ work: 'stream', s3: s3(), file, megabytes: 100 })
    expect(stderr).toBe('')
    expect((await stat(file)).size).toBe(100 * 1024 ** 2)
    let crc = 0
    for await (const chunk of createReadStream(file)) crc = crc32(chunk as Buffer, crc)
    expect(crc).toBe(told.crc)
    process.stdout.write(`memory in MiB: ${JSON.stringify(told)}\n`)
    expect(told.read! - told.before!).toBeLessThan(100)
  })
})
