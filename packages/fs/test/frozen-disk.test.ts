import { execFileSync } from 'node:child_process'
import dns from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { until } from '../../../test/support/servers/until.js'
import { canMount } from './support/small-disk.js'

/** A disk in a file, which can be frozen; gone after the test. */
function ownDisk(): string {
  const directory = temporaryDirectory()
  const image = path.join(temporaryDirectory(), 'disk')
  fs.writeFileSync(image, '')
  fs.truncateSync(image, 32 * 1024 * 1024)
  execFileSync('mkfs.ext4', ['-q', '-F', image])
  execFileSync('mount', ['-o', 'loop', image, directory])
  afterwards(() => execFileSync('umount', ['-l', directory]))
  return directory
}

const canFreeze = canMount && works()
if (!canFreeze) console.warn('SKIPPED: the tests of a frozen disk need root, mkfs.ext4, fsfreeze and loop devices')

function works(): boolean {
  const directory = fs.mkdtempSync('/tmp/thermocline-')
  const image = `${directory}.image`
  try {
    fs.writeFileSync(image, '')
    fs.truncateSync(image, 8 * 1024 * 1024)
    execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: 'ignore' })
    execFileSync('mount', ['-o', 'loop', image, directory], { stdio: 'ignore' })
    execFileSync('fsfreeze', ['-f', directory], { stdio: 'ignore' })
    execFileSync('fsfreeze', ['-u', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory], { stdio: 'ignore' })
    return true
  } catch {
    return false
  } finally {
    fs.rmSync(image, { force: true })
    fs.rmdirSync(directory)
  }
}

/** Whether the application gets on with its own files and names. */
async function goesOn(): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(resolve, 3000, false).unref())
  const own = Promise.all([readFile('/proc/self/status'), dns.lookup('localhost'), readFile('/etc/hostname')]).then(() => true)
  return Promise.race([own, late])
}

;(canFreeze ? test : test.skip)('a frozen disk takes one thread, however long it is and whatever is asked; then it is back in use', async () => {
  const directory = ownDisk()
  const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath: directory, cleanupInterval: '1s' }), budget: '500ms' } }, logger: false })
  const acme = cache.tenant('acme')
  const recovered: unknown[] = []
  cache.on('recovered', (event) => recovered.push(event))
  await acme.set('k', 1)
  await acme.set('short', 1, { ttl: '1s' })
  execFileSync('fsfreeze', ['-f', directory])
  try {
    await acme.set('k', 2)
    for (let round = 0; round < 5; round++) {
      for (let at = 0; at < 20; at++) await acme.getOrCompute(`other/${round}/${at}`, () => at)
      await acme.delete(`k${round}`)
      expect(await goesOn()).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, 1200)) // probes, records and clean-ups have their turn
    }
    expect(await goesOn()).toBe(true)
  } finally {
    execFileSync('fsfreeze', ['-u', directory])
  }
  await until('the tier is back', () => recovered.length > 0, { withinMs: 8000 })
  await until('it owes nothing', async () => (await cache.stats()).tiers['warm']?.pendingInvalidations === 0, { withinMs: 20_000 })
  expect(await acme.get('k')).toBeUndefined()
  await acme.set('k', 3)
  expect(await acme.get('k')).toBe(3)
  await cache.close()
}, 60_000)
