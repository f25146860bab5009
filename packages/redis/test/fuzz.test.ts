import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { makeCertificates } from '../../../test/support/redis/certificates.js'

/** How many servers with odd replies there are for each topology: `REDIS_FUZZ_RUNS=5000 REDIS_FUZZ_SEED=7`. */
const RUNS = Number(process.env['REDIS_FUZZ_RUNS'] ?? 60)
const SEED = Number(process.env['REDIS_FUZZ_SEED'] ?? 20_261_129)
const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'fuzzed.mjs')

test.each(['single', 'tls', 'sentinel', 'cluster', 'client'])('whatever servers answer, nothing is thrown where nobody catches it, nothing hangs, nothing is wrong: %s', async (mode) => {
  const { ca, server } = await makeCertificates(temporaryDirectory())
  const tls = { ca: String(ca), key: String(server.key), cert: String(server.cert) }
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify({ mode, runs: RUNS, seed: SEED, tls })], { stdio: ['ignore', 'pipe', 'pipe'] })
  afterwards(() => child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()))
  const [code] = (await once(child, 'close')) as [unknown]
  expect([code, output]).toEqual([0, expect.stringMatching(/^done \d+ runs, \d+ MB\n$/)])
}, 60_000 + RUNS * 2000)
