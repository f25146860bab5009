/*
 * node bench/outages.mjs [options]
 *
 *   --contender <name>  only this cache (again for more; a beginning such as `bento` takes all that begin so)
 *   --outage <name>     only this outage (the same)
 *   --cap <seconds>     the most that a sequence of calls, and the way back, may take. Default 15
 *   --quick             a cap of 3 s: to see that everything runs
 *   --docs              writes the tables of docs/outages.md from this run
 *   --from <file>       writes those tables from kept results instead of a run (again for more files: a later one's outages win)
 *   --list              the names of outages and caches
 *
 * Every cache goes through every outage in a process of its own, with a redis-server of its own.
 */
import { fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { contenders } from './lib/outage-contenders.mjs'
import { outagePage, outageText } from './lib/outage-report.mjs'
import { startProxy } from './lib/proxy.mjs'
import { ask, freePort, redisVersion, startRedis } from './lib/redis-server.mjs'
import { about } from './lib/about.mjs'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const PAGE = path.join(path.dirname(HERE), 'docs', 'outages.md')
const BEGIN = '<!-- measured: made by `node bench/outages.mjs --docs` -->'
const END = '<!-- end of measured -->'
const CHILD = new URL('./lib/outage-child.mjs', import.meta.url)

const CALLS = 20
const MANY_CALLS = 1000
/** Keys that get a new value during the outage, and as many that are deleted. */
const CHANGED = 10
const CHANGE_CAP_MS = 3000
const BUSY_ROUNDS = 30
/** Longer than any cache waits for Redis. */
const BUSY_MS = 320
/** Writes at once. */
const BURST = 20_000
/** What a client has queued arrives late: values are read after this. */
const SETTLE_MS = 3000

const { values: options } = parseArgs({
  options: {
    contender: { type: 'string', multiple: true },
    outage: { type: 'string', multiple: true },
    cap: { type: 'string', default: '15' },
    quick: { type: 'boolean', default: false },
    docs: { type: 'boolean', default: false },
    from: { type: 'string', multiple: true },
    list: { type: 'boolean', default: false },
  },
})
const capMs = options.quick ? 3000 : Number(options.cap) * 1000
if (!(capMs > 0)) throw new TypeError(`--cap must be a positive number of seconds, not ${options.cap}`)
/** Longer than a sequence and the changes: it cannot be ended early. */
const PAUSE_MS = capMs + CHANGE_CAP_MS + 2000

/** What happens to the server, and how it ends. `pausedUntil` is when it ends by itself. */
const outages = {
  'killed, connections refused': {
    begin: async ({ server }) => {
      await ask(server.port, 'SAVE')
      await server.kill()
    },
    end: ({ server }) => server.start(),
  },
  'stopped (SIGSTOP)': { begin: ({ server }) => server.pause(), end: ({ server }) => server.resume() },
  'CLIENT PAUSE': {
    begin: ({ server }) => ask(server.port, 'CLIENT', 'PAUSE', PAUSE_MS, 'ALL'),
    end: ({ startedAt }) => sleep(Math.max(0, startedAt + PAUSE_MS - performance.now())),
  },
  'black hole': { proxied: true, begin: ({ proxy }) => proxy.blackHole(), end: ({ proxy }) => proxy.pass() },
  'out of memory (noeviction)': {
    begin: ({ server }) => ask(server.port, 'CONFIG', 'SET', 'maxmemory', 1),
    end: ({ server }) => ask(server.port, 'CONFIG', 'SET', 'maxmemory', 0),
  },
}
const NEVER = 'never started'

/** The server is well and the process is not: a value that is lost then is lost by the cache. */
const healthy = {
  'busy process': async (subject, other) => {
    await other.do('fill', { count: BUSY_ROUNDS })
    const { lost, exceptions } = await subject.do('busy', { rounds: BUSY_ROUNDS, busyMs: BUSY_MS, capMs: CHANGE_CAP_MS })
    const { stored } = await other.do('stored', { pattern: '*busy-*', count: BUSY_ROUNDS, capMs: SETTLE_MS })
    return { busy: { reads: lost, writes: BUSY_ROUNDS - stored, exceptions } }
  },
  burst: async (subject, other) => {
    const { ms, isComplete, exceptions } = await subject.do('burst', { count: BURST, capMs })
    const { stored } = await other.do('stored', { pattern: '*burst-*', count: BURST, capMs: SETTLE_MS })
    return { burst: { ms, isComplete, exceptions, lost: BURST - stored } }
  },
}

const ALL = [NEVER, ...Object.keys(outages), ...Object.keys(healthy)]

async function main() {
  const redis = redisVersion()
  if (redis === undefined) {
    console.error('There is no redis-server here (apt-get install redis-server, or REDIS_SERVER=<path>): nothing was measured.')
    process.exitCode = 1
    return
  }
  const names = pick(options.contender, Object.keys(contenders), '--contender')
  const results = { meta: { ...about(), redis, capMs, calls: CALLS, manyCalls: MANY_CALLS, changed: CHANGED, settleMs: SETTLE_MS, busyRounds: BUSY_ROUNDS, busyMs: BUSY_MS, burst: BURST }, rows: [] }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'thermocline-outages-'))
  process.once('exit', () => fs.rmSync(dir, { recursive: true, force: true }))
  process.once('SIGINT', () => process.exit(130))
  for (const outage of pick(options.outage, ALL, '--outage')) {
    for (const name of names) {
      const { only } = contenders[name]
      if (only !== undefined && only !== outage) continue
      const row = await live(name, outage, dir).catch((error) => ({ failed: error.message }))
      results.rows.push({ outage, contender: name, with: contenders[name].with, ...row })
    }
    console.log(`\n${outage}\n${outageText(results, outage)}`)
  }
  results.meta.seconds = Math.round((Date.now() - Date.parse(results.meta.startedAt)) / 1000)
  if (options.quick) return
  const file = `outages-${results.meta.startedAt.slice(0, 19).replaceAll(':', '').replace('T', '-')}.json`
  fs.writeFileSync(path.join(HERE, 'results', file), `{\n  "meta": ${JSON.stringify(results.meta)},\n  "rows": [\n${results.rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n')}\n  ]\n}\n`)
  if (options.docs) writePage([{ file, ...results }])
  console.log(`\nRaw results: bench/results/${file}`)
}

function pick(wanted, all, option) {
  if (wanted === undefined) return all
  return wanted.flatMap((name) => {
    const found = all.includes(name) ? [name] : all.filter((one) => one.startsWith(name))
    if (found.length === 0) throw new TypeError(`${option} ${name}: there is none; there are ${all.join('; ')}`)
    return found
  })
}

/** A cache in a process of its own. */
class Subject {
  #process
  #waiting
  #ended

  constructor(settings) {
    this.#process = fork(CHILD, [JSON.stringify(settings)], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    this.#process.on('message', (message) => {
      const waiting = this.#waiting
      this.#waiting = undefined
      if (message.failed === undefined) waiting?.resolve(message.answer)
      else waiting?.reject(new Error(message.failed))
    })
    this.#process.on('exit', (code, signal) => {
      this.#ended = `the process ended (${signal ?? `code ${code}`})`
      this.#waiting?.reject(new Error(this.#ended))
    })
    this.started = this.#answer(20_000)
  }

  async do(verb, details = {}) {
    await this.started
    if (this.#ended !== undefined) throw new Error(this.#ended)
    const answer = this.#answer(capMs * 2 + 30_000)
    this.#process.send({ verb, ...details })
    return answer
  }

  end() {
    this.#process.kill('SIGKILL')
  }

  #answer(withinMs) {
    let timer
    const answer = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      timer = setTimeout(() => reject(new Error('the process does not answer')), withinMs)
    })
    return answer.finally(() => clearTimeout(timer))
  }
}

function live(contender, outage, dir) {
  if (outage === NEVER) return neverStarted(contender)
  return outage in healthy ? whileHealthy(contender, healthy[outage], dir) : goThrough(contender, outage, dir)
}

async function whileHealthy(contender, scene, dir) {
  const server = await startRedis({ options: ['--dir', fs.mkdtempSync(path.join(dir, 'redis-'))] })
  const at = { contender, host: '127.0.0.1', port: server.port, serverPort: server.port }
  const subjects = [new Subject(at), new Subject(at)]
  try {
    for (const subject of subjects) {
      await subject.do('open')
      const inUse = await subject.do('back', { capMs: 15_000 })
      if (inUse.seconds === undefined) throw new Error('it never came into use')
    }
    return { ...(await scene(...subjects)), problems: await subjects[0].do('problems') }
  } finally {
    for (const subject of subjects) subject.end()
    await server.kill()
  }
}

async function neverStarted(contender) {
  const port = await freePort()
  const at = { contender, host: '127.0.0.1', port, serverPort: port }
  const subject = new Subject(at)
  const other = new Subject(at)
  let server
  try {
    await subject.do('open')
    const sequence = await subject.do('sequence', { calls: MANY_CALLS, capMs })
    await other.do('open')
    const together = await other.do('together', { calls: MANY_CALLS, capMs })
    other.end()
    const row = { sequence, together }
    if (contenders[contender].only === undefined) {
      server = await startRedis({ port })
      row.back = await subject.do('back', { capMs })
    }
    return { ...row, problems: await subject.do('problems') }
  } finally {
    subject.end()
    other.end()
    await server?.kill()
  }
}

async function goThrough(contender, outage, dir) {
  const { begin, end, proxied = false } = outages[outage]
  const own = fs.mkdtempSync(path.join(dir, 'redis-'))
  const server = await startRedis({ options: ['--dir', own] })
  let proxy
  let subject
  let other
  try {
    proxy = proxied ? await startProxy(await freePort(), server.port) : undefined
    const at = { contender, host: '127.0.0.1', port: proxy?.port ?? server.port, serverPort: server.port }
    subject = new Subject(at)
    await subject.do('open')
    // without an offline queue the first commands fail: the outage begins when the cache is in use
    const inUse = await subject.do('back', { capMs: 15_000 })
    if (inUse.seconds === undefined) throw new Error('it never came into use')
    await subject.do('prepare', { changed: CHANGED })
    await sleep(300) // some write in the background
    const stored = Number((await ask(server.port, 'DBSIZE')).slice(1))
    if (!(stored > 2 * CHANGED)) throw new Error(`only ${stored} of its values came to the server before the outage`)
    const world = { server, proxy, startedAt: performance.now() }
    await begin(world)
    const sequence = await subject.do('sequence', { calls: CALLS, capMs })
    const change = await subject.do('change', { changed: CHANGED, capMs: CHANGE_CAP_MS })
    await end(world)
    const back = await subject.do('back', { capMs })
    await sleep(SETTLE_MS)
    other = new Subject({ ...at, port: server.port })
    await other.do('open')
    await other.do('back', { capMs: 15_000 }) // it reads what is in the server, once it is connected
    const itself = await subject.do('read', { changed: CHANGED })
    const another = await other.do('read', { changed: CHANGED })
    return { sequence, change, back, stale: staleOf(change, [itself, another]), problems: await subject.do('problems') }
  } finally {
    subject?.end()
    other?.end()
    proxy?.close()
    server.resume()
    await server.kill()
  }
}

/** Keys of which a reader still sees what was there before: by what the caller was told of the change. */
function staleOf(change, readers) {
  const stale = { done: 0, thrown: 0, unanswered: 0 }
  for (const kind of ['set', 'deleted']) {
    for (const [n, outcome] of change[kind].entries()) if (readers.some((versions) => versions[kind][n] === 1)) stale[outcome]++
  }
  return stale
}

function writePage(runs) {
  const page = fs.readFileSync(PAGE, 'utf8')
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`docs/outages.md must have the lines ${BEGIN} and ${END}`)
  fs.writeFileSync(PAGE, `${page.slice(0, begin)}${BEGIN}\n\n${outagePage(runs)}\n\n${page.slice(end)}`)
}

if (options.list) console.log(`outages: ${ALL.join('; ')}\ncaches: ${Object.keys(contenders).join('; ')}`)
else if (options.from !== undefined) writePage(options.from.map((file) => ({ file: path.basename(file), ...JSON.parse(fs.readFileSync(file, 'utf8')) })))
else await main()
