/*
 * One cache that lives through an outage. Does what it is told and counts; what it must not touch (server, network) is the parent's.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { contenders } from './outage-contenders.mjs'

const { contender, host, port, serverPort } = JSON.parse(process.argv[2])
const TOO_LATE = Symbol('too late')
const thrown = new Set()
let thrownTimes = 0
let unhandled = 0
process.on('unhandledRejection', () => unhandled++)
process.on('uncaughtException', () => unhandled++)

let cache
let keys = 0

/** Settles at `until` at the latest. @returns what came of it, and how long it took */
async function timed(call, until) {
  const startedAt = performance.now()
  let result
  let problem
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, Math.max(0, until - startedAt), TOO_LATE)))
  try {
    result = await Promise.race([Promise.resolve().then(call), late])
  } catch (error) {
    problem = `${error?.code ?? error?.name ?? ''} ${error?.message ?? error}`.trim()
    thrown.add(problem.slice(0, 120))
    thrownTimes++
  }
  clearTimeout(timer)
  return { ms: performance.now() - startedAt, result, problem, late: result === TOO_LATE }
}

/** A new key each time, and a compute that takes no time. */
const call = (until) => {
  const value = { computed: ++keys }
  return timed(() => cache.getOrCompute(`new-${keys}`, async () => value), until)
}

const verbs = {
  async open() {
    cache = await contenders[contender].open({ host, port })
  },
  /** Old values, and a cache that has been in use for a moment. */
  async prepare({ changed }) {
    for (let n = 0; n < changed; n++) for (const kind of ['set', 'deleted']) await cache.set(`${kind}-${n}`, { version: 1 })
    for (let n = 0; n < 50; n++) await call(performance.now() + 5000)
  },
  /** So many calls, one after the other. */
  async sequence({ calls, capMs }) {
    const until = performance.now() + capMs
    const times = []
    let exceptions = 0
    let isComplete = true
    while (times.length < calls) {
      const { ms, problem, late } = await call(until)
      times.push(ms)
      if (problem !== undefined) exceptions++
      if (late || performance.now() >= until) {
        isComplete = !late && times.length === calls
        break
      }
    }
    return { firstMs: times[0], lastMs: times.at(-1), sumMs: times.reduce((sum, ms) => sum + ms, 0), calls: times.length, isComplete, exceptions }
  },
  async together({ calls, capMs }) {
    const startedAt = performance.now()
    const all = await Promise.all(Array.from({ length: calls }, () => call(startedAt + capMs)))
    return { ms: performance.now() - startedAt, isComplete: all.every(({ late }) => !late), exceptions: all.filter(({ problem }) => problem !== undefined).length }
  },
  /** New values and deletions while the server is away. @returns which of them were answered, and how */
  async change({ changed, capMs }) {
    const until = performance.now() + capMs
    const names = Array.from({ length: changed }, (_, n) => n)
    const outcomeOf = ({ problem, late }) => (late ? 'unanswered' : problem === undefined ? 'done' : 'thrown')
    const outcomes = async (call) => (await Promise.all(names.map((n) => timed(() => call(n), until)))).map(outcomeOf)
    const [set, deleted] = await Promise.all([outcomes((n) => cache.set(`set-${n}`, { version: 2 })), outcomes((n) => cache.delete(`deleted-${n}`))])
    return { set, deleted }
  },
  /** Until what is written arrives in the server. */
  async back({ capMs }) {
    const { Redis } = await import('ioredis-6')
    const server = new Redis({ host: '127.0.0.1', port: serverPort })
    server.on('error', () => undefined)
    const startedAt = performance.now()
    try {
      for (let n = 0; performance.now() - startedAt < capMs; n++) {
        await timed(() => cache.set(`probe-${n}-`, { n }), performance.now() + 1000)
        await sleep(20) // some write in the background
        const found = await namesIn(server, `*probe-${n}-*`)
        if (found.size > 0) return { seconds: (performance.now() - startedAt) / 1000 }
        await sleep(50)
      }
      return {}
    } finally {
      server.disconnect()
    }
  },
  /** What is read of the keys that changed. Twice: some answer from memory and look into Redis meanwhile. */
  async read({ changed }) {
    const versions = async (kind) => {
      const found = []
      for (let n = 0; n < changed; n++) {
        const { result } = await timed(() => cache.get(`${kind}-${n}`), performance.now() + 2000)
        found.push(result === TOO_LATE ? null : (result?.version ?? null))
      }
      return found
    }
    const first = { set: await versions('set'), deleted: await versions('deleted') }
    await sleep(200)
    const second = { set: await versions('set'), deleted: await versions('deleted') }
    const older = (kind) => second[kind].map((version, n) => (first[kind][n] === 1 ? 1 : version))
    return { set: older('set'), deleted: older('deleted') }
  },
  /** Values for another process to read. */
  async fill({ count }) {
    for (let n = 0; n < count; n++) await cache.set(`stored-${n}`, { n })
  },
  /** A read and a write, and then a loop that lets nothing else run. Again and again. */
  async busy({ rounds, busyMs, capMs }) {
    let lost = 0
    for (let n = 0; n < rounds; n++) {
      const until = performance.now() + busyMs + capMs
      const reading = timed(() => cache.get(`stored-${n}`), until)
      const writing = timed(() => cache.set(`busy-${n}`, { n }), until)
      const loopUntil = performance.now() + busyMs
      while (performance.now() < loopUntil);
      const { result } = await reading
      if (result?.n !== n) lost++
      await writing
    }
    return { lost, exceptions: thrownTimes }
  },
  /** So many writes at once. */
  async burst({ count, capMs }) {
    const startedAt = performance.now()
    const all = await Promise.all(Array.from({ length: count }, (_, n) => timed(() => cache.set(`burst-${n}`, { n }), startedAt + capMs)))
    return { ms: performance.now() - startedAt, isComplete: all.every(({ late }) => !late), exceptions: thrownTimes }
  },
  /** How many such keys are in the server, in the end. */
  async stored({ pattern, count, capMs }) {
    const { Redis } = await import('ioredis-6')
    const server = new Redis({ host: '127.0.0.1', port: serverPort })
    const giveUpAt = performance.now() + capMs
    try {
      for (;;) {
        const names = await namesIn(server, pattern)
        if (names.size >= count || performance.now() > giveUpAt) return { stored: names.size }
        await sleep(100)
      }
    } finally {
      server.disconnect()
    }
  },
  problems: () => ({ unhandled, messages: [...thrown] }),
}

async function namesIn(server, pattern) {
  const names = new Set()
  let cursor = '0'
  do {
    const [next, found] = await server.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000)
    for (const name of found) names.add(name)
    cursor = next
  } while (cursor !== '0')
  return names
}

process.on('message', async ({ verb, ...options }) => {
  try {
    process.send({ answer: (await verbs[verb](options)) ?? {} })
  } catch (error) {
    process.send({ failed: String(error?.message ?? error) })
  }
})
process.on('disconnect', () => process.exit(0))
process.send({ answer: {} })
