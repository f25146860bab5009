/*
 * A process in which servers answer what they like. Whatever they say, nothing may be thrown where nobody catches it, every verb ends, no value is wrong, and
 * memory stays bounded. It runs the built packages.
 *
 *   node fuzzed.mjs '{"mode":"single","runs":100,"seed":1,"tls":{"key":"...","cert":"...","ca":"..."}}'
 */
import net from 'node:net'
import tls from 'node:tls'
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend } from '@thermocline/redis'
import fc from 'fast-check'
import { Redis } from 'ioredis'

const { mode, runs, seed, tls: secure } = JSON.parse(process.argv[2])
const AT_ONCE = 12
const VERB_MS = 8000
const MOST_BYTES = 700 * 1024 ** 2

let running = 'nothing'
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => {
    process.stdout.write(`${event} during ${running}: ${error?.stack ?? error}\n`)
    process.exit(3)
  })
}

const bulk = (text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const RAW = [
  '$-1\r\n', '*-1\r\n', '*0\r\n', '_\r\n', ':5\r\n', ':-1\r\n', '+OK\r\n', '+\r\n', '$0\r\n\r\n', '#t\r\n', ',1.5\r\n', '(1\r\n', '%1\r\n+a\r\n+b\r\n', '~1\r\n+a\r\n', '!3\r\nERR\r\n', '=5\r\ntxt:a\r\n', '|1\r\n+a\r\n+b\r\n',
  '>0\r\n', '>1\r\n_\r\n', '>2\r\n$7\r\nmessage\r\n_\r\n', '>3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n', '>-1\r\n', '*1\r\n$-1\r\n', '*1\r\n*3\r\n:0\r\n:100\r\n$-1\r\n', '*1\r\n*3\r\n:0\r\n:9007199254740991\r\n*2\r\n$1\r\na\r\n:1\r\n',
  '*3\r\n$7\r\nmessage\r\n$-1\r\n$-1\r\n', '*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n', '*4\r\n$8\r\npmessage\r\n$1\r\na\r\n$-1\r\n$-1\r\n', '*2\r\n$-1\r\n$-1\r\n', '*2\r\n$1\r\n7\r\n*0\r\n', '*2\r\n$1\r\na\r\n$1\r\nb\r\n', '*2\r\n:1\r\n:2\r\n',
  '-ERR no\r\n', '-\r\n', '-MOVED 1\r\n', '-MOVED\r\n', '-MOVED 99999 a:b\r\n', '-MOVED __proto__ 127.0.0.1:1\r\n', '-ASK 1 :\r\n', '-ASK 1 127.0.0.1:1\r\n', '-MOVED 1 127.0.0.1:1\r\n', '-LOADING wait\r\n', '-NOAUTH no\r\n', '-TRYAGAIN\r\n', '-CLUSTERDOWN\r\n', '-READONLY\r\n',
  '$99999999999\r\n', '$-7\r\n', '$1e3\r\n', '*99999999\r\n', '*4294967295\r\n', '$2\r\nabc\r\n', '*1\r\n'.repeat(500), 'HTTP/1.1 200 OK\r\n\r\n', '\r\n', '\n\n\n', '\0'.repeat(64),
]

const mutation = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('instead'), bytes: fc.constantFrom(...RAW) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('before', 'after'), bytes: fc.constantFrom(...RAW) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('flip'), at: fc.nat(400), to: fc.nat(255) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('type'), nth: fc.nat(6), to: fc.constantFrom('+', '-', ':', '$', '*', '_', '>', '%') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut'), at: fc.nat(60), ends: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('random'), bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('endless'), head: fc.constantFrom('$500000000\r\n', '$8000000\r\n', '+', ':', '*1000000\r\n', '*64\r\n$8000000\r\n') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('silence', 'pieces', 'twice') }) },
)
/** What happens to which reply of a server. */
const plan = fc.record({
  mutations: fc.array(fc.tuple(fc.oneof(fc.nat(12), fc.nat(60)), mutation), { minLength: 1, maxLength: 4 }),
  password: fc.boolean(),
  always: fc.option(fc.tuple(fc.constantFrom('PING', 'INFO', 'SUBSCRIBE', 'CLUSTER', 'SENTINEL', 'CLIENT', 'GET', 'MGET', 'SCAN', 'SET', 'UNLINK', 'AUTH'), mutation), { nil: undefined }),
})

/** Commands in what a client has sent, and what is left of it. */
function commandsIn(bytes) {
  const commands = []
  let at = 0
  for (;;) {
    const start = at
    const line = () => {
      const end = bytes.indexOf('\r\n', at)
      if (end === -1) return undefined
      const number = Number(bytes.toString('latin1', at + 1, end))
      at = end + 2
      return number
    }
    const count = line()
    const args = []
    for (let n = 0; count !== undefined && n < count; n++) {
      const size = line()
      if (size === undefined || bytes.length < at + size + 2) break
      args.push(bytes.subarray(at, at + size))
      at += size + 2
    }
    if (count === undefined || args.length < count) return { commands, rest: bytes.subarray(start) }
    commands.push(args)
  }
}

/** What a sound server answers. */
function answer(args, { store, port, masterPort }) {
  const [name, ...rest] = args.map(String)
  switch (name.toUpperCase()) {
    case 'AUTH': case 'SELECT': case 'READONLY': case 'READWRITE': case 'ASKING': return '+OK\r\n'
    case 'HELLO': return '%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n'
    case 'PING': return rest.length === 0 ? '+PONG\r\n' : bulk(rest[0])
    case 'INFO': return bulk('# Server\r\nrole:master\r\nused_memory:1\r\nmaxmemory:0\r\n')
    case 'SUBSCRIBE': return `*3\r\n${bulk('subscribe')}${bulk(rest[0])}:1\r\n`
    case 'CLIENT': return /^info$/i.test(rest[0]) ? bulk('id=7 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=8 name=\n') : ':1\r\n'
    case 'GET': return store.has(rest[0]) ? Buffer.concat([Buffer.from(`$${store.get(rest[0]).length}\r\n`), store.get(rest[0]), Buffer.from('\r\n')]) : '$-1\r\n'
    case 'GETRANGE': return store.has(rest[0]) ? bulkBytes(store.get(rest[0]).subarray(0, 2048)) : '$0\r\n\r\n'
    case 'MGET': return Buffer.concat([Buffer.from(`*${rest.length}\r\n`), ...rest.map((key) => (store.has(key) ? bulkBytes(store.get(key)) : Buffer.from('$-1\r\n')))])
    case 'SET': store.set(rest[0], Buffer.from(args[2])); return '+OK\r\n'
    case 'UNLINK': return `:${rest.filter((key) => store.delete(key)).length}\r\n`
    case 'SCAN': return `*2\r\n${bulk('0')}*${store.size}\r\n${[...store.keys()].map(bulk).join('')}`
    case 'CLUSTER':
      if (/^slots$/i.test(rest[0])) return `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${bulk('127.0.0.1')}:${port}\r\n${bulk('a'.repeat(40))}`
      if (/^info$/i.test(rest[0])) return bulk('cluster_state:ok\r\n')
      return bulk(`${'a'.repeat(40)} 127.0.0.1:${port}@1 myself,master - 0 0 1 connected 0-16383\n`)
    case 'SENTINEL': return /^get-master/i.test(rest[0]) ? `*2\r\n${bulk('127.0.0.1')}${bulk(String(masterPort))}` : '*0\r\n'
    default: return '-ERR unknown command\r\n'
  }
}

function bulkBytes(bytes) {
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
}

/** Sends a sound answer as a mutation makes it. */
function send(client, sound, change, last) {
  const bytes = Buffer.from(sound)
  switch (change?.kind) {
    case undefined: return client.write(bytes)
    case 'instead': return client.write(change.bytes)
    case 'before': return client.write(Buffer.concat([Buffer.from(change.bytes), bytes]))
    case 'after': return client.write(Buffer.concat([bytes, Buffer.from(change.bytes)]))
    case 'flip': bytes[change.at % bytes.length] = change.to; return client.write(bytes)
    case 'type': {
      let seen = 0
      const text = bytes.toString('latin1').replace(/(^|\r\n)([+\-:$*])/g, (all, before) => (seen++ === change.nth ? before + change.to : all))
      return client.write(Buffer.from(text, 'latin1'))
    }
    case 'cut': client.write(bytes.subarray(0, change.at % bytes.length)); return change.ends ? client.end() : undefined
    case 'random': return client.write(Buffer.from(change.bytes))
    case 'silence': return undefined
    case 'twice': return client.write(Buffer.concat([bytes, last ?? bytes]))
    case 'pieces': for (const byte of bytes.subarray(0, 3000)) client.write(Buffer.from([byte])); return client.write(bytes.subarray(3000))
    case 'endless': {
      client.write(change.head)
      const junk = Buffer.alloc(64 * 1024, 0x31)
      let left = 2000
      const more = () => {
        while (!client.destroyed && left-- > 0) if (!client.write(junk)) return void client.once('drain', more)
      }
      more()
    }
  }
}

async function startServer({ mutations, always }, facts) {
  const byPlace = new Map(mutations)
  let replies = 0
  const sockets = new Set()
  const serve = (client) => {
    sockets.add(client)
    let kept = Buffer.alloc(0)
    let last
    client.on('error', () => undefined)
    client.on('close', () => sockets.delete(client))
    client.on('data', (came) => {
      const { commands, rest } = commandsIn(Buffer.concat([kept, came]))
      kept = rest
      for (const args of commands) {
        const sound = answer(args, facts)
        const change = byPlace.get(replies++) ?? (always?.[0] === String(args[0]).toUpperCase() ? always[1] : undefined)
        if (client.writable) send(client, sound, change, last)
        last = Buffer.from(sound)
      }
    })
  }
  const server = facts.secure === undefined ? net.createServer(serve) : tls.createServer(facts.secure, serve)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  facts.port = server.address().port
  return () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
}

async function withinTime(what, promise) {
  let timer
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${what} does not end`)), VERB_MS)))
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

async function run(given) {
  const facts = { store: new Map(), secure: mode === 'tls' ? { key: secure.key, cert: secure.cert } : undefined }
  const stops = [await startServer(mode === 'sentinel' ? { mutations: given.mutations.slice(1), always: given.always } : given, facts)]
  const password = given.password ? { password: 'hush' } : {}
  let redis
  if (mode === 'cluster') redis = { cluster: [{ host: '127.0.0.1', port: facts.port }], ...password }
  else if (mode === 'sentinel') {
    const sentinel = { store: facts.store, masterPort: facts.port, secure: undefined }
    stops.push(await startServer(given, sentinel))
    redis = { sentinel: { name: 'main', sentinels: [{ host: '127.0.0.1', port: sentinel.port }] }, ...password }
  } else if (mode === 'client') {
    const client = new Redis({ host: '127.0.0.1', port: facts.port, retryStrategy: () => 50, ...password })
    client.on('error', () => undefined)
    stops.push(() => client.disconnect())
    redis = { client }
  } else redis = { host: '127.0.0.1', port: facts.port, ...(mode === 'tls' ? { tls: { ca: secure.ca } } : {}), ...password }
  const cache = new TieredCacheManager({ tiers: { redis: { backend: new RedisBackend({ ...redis, maxPayloadBytes: 1024 ** 2 }) } }, logger: false })
  const acme = cache.tenant('acme')
  const told = new Map()
  const settle = (what, promise) => withinTime(what, promise.catch((error) => {
    if (/does not end/.test(String(error))) throw error
  }))
  const check = (key, value) => {
    if (value !== undefined && (value?.key !== key || !(told.get(key) ?? []).includes(value.n))) throw new Error(`${key} is ${JSON.stringify(value)}`)
  }
  try {
    for (let n = 0; n < 4; n++) {
      const key = `k${n % 3}`
      told.set(key, [...(told.get(key) ?? []), n])
      await settle('set', acme.set(key, { key, n, pad: 'x'.repeat(n === 1 ? 300_000 : 10) }))
      await Promise.all(['k0', 'k1', 'k2'].map(async (each) => check(each, await settle('get', acme.get(each)))))
      const many = await settle('getMany', acme.getMany(['k0', 'k1', 'k2']))
      for (const [each, value] of many ?? []) check(each, value)
      await settle('lookup', acme.lookup('k0', { value: false }))
      if (n === 1) await settle('list', (async () => { for await (const _ of acme.list('', { detail: true })) continue })())
      if (n === 2) await settle('delete', acme.delete('k0'))
      if (n === 2) await settle('stats', cache.stats())
      if (n === 3) await settle('clear', acme.clear('k1'))
    }
  } finally {
    await withinTime('close', cache.close())
    for (const stop of stops) stop()
  }
}

const plans = fc.sample(plan, { numRuns: runs, seed })
let most = 0
const work = async () => {
  for (let next = plans.pop(); next !== undefined; next = plans.pop()) {
    running = JSON.stringify(next)
    try {
      await run(next)
    } catch (error) {
      process.stdout.write(`${error.stack}\nwith ${JSON.stringify(next)}\n`)
      process.exit(4)
    }
    most = Math.max(most, process.memoryUsage().rss)
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work))
if (most > MOST_BYTES) {
  process.stdout.write(`it took ${Math.round(most / 1024 ** 2)} MB\n`)
  process.exit(5)
}
process.stdout.write(`done ${runs} runs, ${Math.round(most / 1024 ** 2)} MB\n`)
