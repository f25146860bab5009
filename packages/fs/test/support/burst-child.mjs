/*
 * A process that asks very much of a disk at once, with the budgets that everybody has. It runs the built packages.
 *
 *   node burst-child.mjs '{"work":"sets","basePath":"/some/where","count":500}'
 */
import fs from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'

const { work, basePath, count, delayMs, ...plan } = JSON.parse(process.argv[2])
const say = (line) => process.stdout.write(`${line}\n`)

/** Every call of the file system takes so long: it holds a thread of four, as a slow disk does. */
if (delayMs !== undefined) {
  let busy = 0
  const waiting = []
  const next = () => {
    const call = busy < 4 ? waiting.shift() : undefined
    if (call === undefined) return
    busy++
    setTimeout(() => {
      busy--
      call()
      next()
    }, delayMs)
  }
  for (const name of ['open', 'writev', 'write', 'read', 'rename', 'futimes', 'link', 'fstat']) {
    const original = fs[name]
    fs[name] = (...args) => {
      waiting.push(() => original.apply(fs, args))
      next()
    }
  }
}

const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath, maxBytes: plan.maxBytes }), budget: plan.budget } }, logger: false })
const acme = cache.tenant('acme')
cache.on('error', ({ error }) => say(`error ${error.code} ${error.message}`))
cache.on('degraded', ({ circuit, error }) => say(`degraded ${circuit} ${error?.code} ${error?.message}`))
const keys = Array.from({ length: count }, (_, i) => `key-${i}`)
/** All descriptors the process may have; closed again by what is returned. */
function takeAllFiles() {
  const taken = []
  try {
    for (;;) taken.push(fs.openSync('/dev/null'))
  } catch {
    return () => taken.splice(0).forEach((fd) => fs.closeSync(fd))
  }
}
const stored = async () => (await acme.getMany(keys)).size

const works = {
  async sets() {
    await Promise.all(keys.map((key) => acme.set(key, 'x'.repeat(2000))))
    say(`stored ${await stored()}`)
    await Promise.all(keys.map((key) => acme.get(key)))
    say(`deleted ${(await Promise.all(keys.map((key) => acme.delete(key)))).filter(Boolean).length}`)
  },
  async computes() {
    await Promise.all(keys.map((key) => acme.getOrCompute(key, () => 'x'.repeat(2000))))
    say(`stored ${await stored()}`)
  },
  /** More streams are begun than files may be open, and each is read while others wait. */
  async streams() {
    const bytes = Buffer.alloc(600_000, 7)
    await Promise.all(keys.map((key) => acme.setStream(key, Readable.from([bytes.subarray(0, 300_000), bytes.subarray(300_000)]))))
    const streams = await Promise.all(keys.map((key) => acme.getStream(key)))
    say(`begun ${streams.filter((stream) => stream !== undefined).length}`)
    let copied = 0
    await Promise.all(
      streams.map(async (stream, i) => {
        await acme.setStream(`copy-${i}`, stream)
        const copy = await acme.getStream(`copy-${i}`)
        if (copy !== undefined && (await buffer(copy)).equals(bytes)) copied++
      }),
    )
    say(`copied ${copied}`)
  },
  /** Others hold all descriptors for a while. */
  async starved() {
    await acme.set('before', 'there')
    const giveBack = takeAllFiles()
    const waiting = Promise.all([...keys.map((key) => acme.set(key, 'x')), acme.get('before')])
    setTimeout(giveBack, 1500)
    const values = await waiting
    say(`read ${values.at(-1)}`)
    say(`stored ${await stored()}`)
  },
}
await works[work]()
await cache.close()
