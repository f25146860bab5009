/*
 * What several processes serve that share a Redis, by this cache and others as they are documented to be used: `node bench/process-peers.mjs` prints the
 * table of docs/processes.md. Each cache has a redis-server of its own, and each process a network of its own to it.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startProxy } from './lib/proxy.mjs'
import { freePort, startRedis } from './lib/redis-server.mjs'

const CHILD = fileURLToPath(new URL('./lib/process-peer-child.mjs', import.meta.url))
const PROCESSES = 4
const CALLERS = 250
const COMPUTE_MS = 50
const KEYS = 20
const WATCHED_MS = 1000
const CUT_MS = 5000
/** How long after the network is back the values are read. */
const AFTERWARDS_MS = 5000

class Peer {
  #answers = new Map()
  #asked = 0

  constructor(name, proxy) {
    this.proxy = proxy
    this.child = fork(CHILD, [name, String(proxy.port)], { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    this.child.on('message', ({ id, ...answer }) => this.#answers.get(id)?.(answer))
  }

  async ask(verb, given = {}) {
    const id = ++this.#asked
    const { answer, error } = await new Promise((resolve) => {
      this.#answers.set(id, resolve)
      this.child.send({ id, verb, ...given })
    })
    if (error !== undefined) throw new Error(error)
    return answer
  }

  async end() {
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
    this.proxy.close()
  }
}

async function program(peers) {
  const rows = {}
  const [one, other] = peers
  await Promise.all(peers.map((peer) => peer.ask('ready')))
  const at = Date.now() + 200
  const done = await Promise.all(peers.map((peer) => peer.ask('stampede', { key: 'cold', callers: CALLERS, ms: COMPUTE_MS, at })))
  rows[`${PROCESSES} processes with ${CALLERS} callers each of one cold key: computes, and different values served`] = `${done.reduce((sum, { computes }) => sum + computes, 0)}, ${new Set(done.flatMap(({ values }) => values)).size}`

  const late = []
  for (let n = 0; n < KEYS; n++) {
    await one.ask('set', { key: `k${n}`, value: 'old' })
    await other.ask('get', { key: `k${n}` })
    const watching = other.ask('watch', { key: `k${n}`, old: 'old', forMs: WATCHED_MS })
    await pause(50)
    await one.ask('delete', { key: `k${n}` })
    const deletedAt = Date.now()
    const last = await watching
    late.push(Math.max(0, last - deletedAt))
  }
  late.sort((a, b) => a - b)
  const within = (ms) => (ms >= WATCHED_MS - 100 ? `longer than ${WATCHED_MS} ms` : `${ms} ms`)
  rows['a key is deleted in one process: another serves the old value for (half of them; the longest)'] = `${within(late[KEYS / 2])}; ${within(late.at(-1))}`

  let old = 0
  for (let n = 0; n < KEYS; n++) {
    const computing = other.ask('compute', { key: `c${n}`, ms: 100, value: 'old' })
    await pause(50)
    await one.ask('set', { key: `c${n}`, value: 'new' })
    await computing
    await pause(50)
    const found = await Promise.all(peers.map((peer) => peer.ask('get', { key: `c${n}` })))
    if (found.some((value) => value === 'old')) old++
  }
  rows['a set while another process computes the key: keys of which some process serves the older one'] = `${old} of ${KEYS}`

  for (let n = 0; n < KEYS; n++) {
    await one.ask('set', { key: `n${n}`, value: 'old' })
    await other.ask('get', { key: `n${n}` })
  }
  other.proxy.blackHole()
  await pause(500)
  for (let n = 0; n < KEYS; n++) await one.ask('set', { key: `n${n}`, value: 'new' })
  await pause(CUT_MS)
  other.proxy.reset()
  other.proxy.pass()
  await pause(AFTERWARDS_MS)
  const found = await Promise.all(Array.from({ length: KEYS }, (_, n) => other.ask('get', { key: `n${n}` })))
  rows[`${KEYS} keys are set while a process is cut off for ${CUT_MS / 1000} s; ${AFTERWARDS_MS / 1000} s after it is back it serves old values of`] = `${found.filter((value) => value === 'old').length}`
  return rows
}

const NAMES = ['thermocline', 'bentocache', 'layered-loader', 'cacheable']
const results = {}
for (const name of NAMES) {
  const server = await startRedis({ port: await freePort() })
  const peers = []
  try {
    for (let n = 0; n < PROCESSES; n++) peers.push(new Peer(name, await startProxy(await freePort(), server.port)))
    results[name] = await program(peers)
  } finally {
    await Promise.all(peers.map((peer) => peer.end()))
    await server.kill()
  }
}
console.log(`| | ${NAMES.join(' | ')} |`)
console.log(`| --- |${' --- |'.repeat(NAMES.length)}`)
for (const row of Object.keys(results.thermocline)) console.log(`| ${row} | ${NAMES.map((name) => results[name][row]).join(' | ')} |`)
process.exit(0)
