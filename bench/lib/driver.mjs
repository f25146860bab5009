/*
 * Runs one case. Two kinds:
 *
 *   rate    one process per contender, asked in turn for a slice of work, there and back (A B C C B A is one round): a slow
 *           drift of the machine hits all alike. A round gives one ratio for each contender: its throughput over the
 *           baseline's. `processes`: each contender has so many, one after the other, which share the rounds: no two processes
 *           with the same code are equally fast.
 *   sample  each round every contender gives one set of named numbers: from its one process, or (`fresh`) from a new
 *           process each time.
 *
 * A case with `redis` gets a server of its own, and every contender a database in it; one with `s3` or `gcs` (the settings of `startS3` and
 * `startGcs`) a store and a bucket each, or `sharedBucket`. `placement` says on which cores they run. A contender that answers `cannot` is left out, and the tables say why.
 */
import { execFile, fork } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { coresFor, onCore } from './pinning.mjs'
import { startRedis } from './redis-server.mjs'
import { startGcs } from './gcs-server.mjs'
import { startS3 } from './s3-server.mjs'
import { rounded, spread } from './stats.mjs'

const CHILD = new URL('./child.mjs', import.meta.url)

class Contender {
  #process
  #waiting
  #gone

  constructor({ spec, name, dir, quick, execArgv, redis, store }) {
    this.name = name
    this.dir = dir
    const [execPath, args] = onCore(coresFor(spec.placement)?.client, process.execPath, [...(spec.execArgv ?? []), ...execArgv])
    this.#process = fork(CHILD, [JSON.stringify({ caseName: spec.name, contender: name, dir, quick, redis, store })], {
      execPath,
      execArgv: args,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#process.on('message', (message) => {
      const { resolve } = this.#waiting
      this.#waiting = undefined
      resolve(message)
    })
    this.#gone = new Promise((resolve) => {
      this.#process.on('exit', (code) => {
        this.#waiting?.reject(new Error(`${spec.name}: ${name} ended with code ${code}`))
        resolve()
      })
    })
    this.ready = this.#answer()
  }

  ask(message) {
    const answer = this.#answer()
    this.#process.send(message)
    return answer
  }

  async close() {
    if (this.#process.connected) this.#process.send({ ask: 'close' })
    await this.#gone
  }

  #answer() {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }
}

/** @returns the case's result: per contender the raw slices or samples and what follows from them */
export async function runCase(spec, { rounds, quick, root, execArgv = [], progress }) {
  const names = Object.keys(spec.contenders)
  const directoryOf = (name) => path.join(root, spec.name, name.replaceAll(/[^a-z0-9]+/gi, '-'))
  for (const name of names) fs.mkdirSync(directoryOf(name), { recursive: true })
  const core = coresFor(spec.placement)?.server
  const redis = spec.redis ? await startRedis({ core }) : undefined
  const store = await startStore(spec, core)
  try {
    const buckets = store === undefined ? undefined : await bucketsOf(store, names, spec.sharedBucket)
    const redisFor = (name) => (redis === undefined ? undefined : { host: redis.host, port: redis.port, db: names.indexOf(name) })
    const storeFor = (name) => (store === undefined ? undefined : { config: store.clientConfig(), bucket: buckets.get(name) })
    const settings = { spec, quick, execArgv, directoryOf, redisFor, storeFor, names, progress, rounds: quick ? Math.min(3, rounds ?? 3) : (rounds ?? spec.rounds ?? 11) }
    // ext4 keeps away from inodes freed less than five seconds ago; looking past thousands of them costs more than the write
    if (!quick) await sleep(spec.restMs ?? 0)
    return await (spec.kind === 'rate' ? runRates(settings) : runSamples(settings))
  } finally {
    await redis?.kill()
    await store?.stop()
  }
}

async function startStore({ s3, gcs }, core) {
  if (s3 !== undefined) return startS3({ core, ...s3 })
  return gcs === undefined ? undefined : startGcs({ core, ...gcs })
}

async function bucketsOf(server, names, shared) {
  const one = shared ? await server.createBucket() : undefined
  const buckets = new Map()
  for (const name of names) buckets.set(name, one ?? (await server.createBucket()))
  return buckets
}

/** @returns the contender's process, once it has set itself up */
async function start({ spec, quick, execArgv, directoryOf, redisFor, storeFor }, name) {
  const contender = new Contender({ spec, name, dir: directoryOf(name), quick, execArgv, redis: redisFor(name), store: storeFor(name) })
  contender.cannot = (await contender.ready).cannot
  return contender
}

/** Ends those that cannot do the case. @returns why, by name */
async function leaveOut(contenders) {
  const reasons = {}
  for (const contender of contenders) {
    if (contender.cannot === undefined) continue
    reasons[contender.name] = contender.cannot
    await contender.close()
  }
  return reasons
}

async function runRates(settings) {
  const { spec, names, rounds, quick, progress } = settings
  const reasons = {}
  const slices = Object.fromEntries(names.map((name) => [name, []]))
  const mostBytes = {}
  const take = async (contender) => {
    const request = { ask: 'slice', sliceMs: quick ? Math.min(60, spec.sliceMs ?? 200) : (spec.sliceMs ?? 200), ops: spec.sliceOps }
    const answer = contender.ask(request)
    if (spec.watchDisk) {
      const most = (mostBytes[contender.name] ??= { atRest: 0, moving: 0 })
      most.moving = Math.max(most.moving, await largestWhile(answer, contender.dir))
      await answer
      most.atRest = Math.max(most.atRest, await bytesIn(contender.dir))
    }
    return (await answer).slice
  }
  const { processes = 1 } = spec
  for (let generation = 0; generation < processes; generation++) {
    const contenders = []
    try {
      for (const name of names) {
        if (reasons[name] !== undefined) continue
        progress(`starting ${name}`)
        contenders.push(await start(settings, name))
      }
      Object.assign(reasons, await leaveOut(contenders))
      const able = contenders.filter(({ cannot }) => cannot === undefined)
      for (const contender of able) for (let warm = 0; warm < (spec.warmUpSlices ?? 2); warm++) await take(contender)
      for (let round = generation; round < rounds; round += processes) {
        progress(`round ${round + 1} of ${rounds}`)
        for (const contender of [...able, ...able.toReversed()]) slices[contender.name].push(await take(contender))
      }
    } finally {
      for (const contender of contenders) await contender.close()
    }
  }
  const resultOf = (name) => (reasons[name] === undefined ? rated(slices[name], slices[spec.baseline], mostBytes[name]) : { cannot: reasons[name] })
  return { rounds, contenders: Object.fromEntries(names.map((name) => [name, resultOf(name)])) }
}

/** A contender's rate per round over the baseline's. A round is two slices, there and back. */
function rated(own, baseline, mostBytes) {
  const perRound = (slices, unit) => {
    const rates = []
    for (let at = 0; at + 1 < slices.length; at += 2) {
      const [there, back] = slices.slice(at, at + 2)
      rates.push((there.ops + back.ops) / (there[unit] + back[unit]))
    }
    return rates
  }
  const over = (unit) => {
    const base = perRound(baseline, unit)
    return spread(perRound(own, unit).map((rate, round) => rate / base[round]))
  }
  return {
    ratio: over('ms'),
    cpuRatio: over('cpuMs'),
    opsPerSecond: rounded(spread(perRound(own, 'ms')).median * 1000),
    ...(mostBytes === undefined ? {} : { mostBytes: mostBytes.atRest, mostBytesMoving: mostBytes.moving }),
    slices: own.map(({ ops, ms, cpuMs }) => [ops, rounded(ms), rounded(cpuMs)]),
  }
}

async function runSamples(settings) {
  const { spec, names, rounds, progress } = settings
  for (const name of names) {
    if (spec.prepare?.[name] === undefined) continue
    progress(`preparing ${name}`)
    await spec.prepare[name]({ dir: settings.directoryOf(name), quick: settings.quick, store: settings.storeFor(name) })
  }
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  const lasting = new Map()
  let reasons = {}
  try {
    if (!spec.fresh) {
      for (const name of names) {
        progress(`starting ${name}`)
        lasting.set(name, await start(settings, name))
      }
      reasons = await leaveOut(lasting.values())
    }
    for (let round = 0; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`)
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        if ((spec.once?.includes(name) && round > 0) || reasons[name] !== undefined) continue
        const contender = lasting.get(name) ?? (await start(settings, name))
        const { sample } = await contender.ask({ ask: 'sample' })
        samples[name].push(sample)
        if (spec.fresh) await contender.close()
      }
    }
  } finally {
    for (const contender of lasting.values()) await contender.close()
  }
  if (spec.relative !== undefined) addRelative(samples, spec)
  const resultOf = (name) => (reasons[name] === undefined ? sampled(samples[name], spec.warmUpSamples ?? 0) : { cannot: reasons[name] })
  return { rounds, contenders: Object.fromEntries(names.map((name) => [name, resultOf(name)])) }
}

/** One number more: another one over the baseline's in the same round. */
function addRelative(samples, { relative, baseline }) {
  for (const own of Object.values(samples)) for (const [round, sample] of own.entries()) sample[relative.as] = sample[relative.of] / samples[baseline][round][relative.of]
}

function sampled(samples, warmUp) {
  const counted = samples.length > warmUp ? samples.slice(warmUp) : samples
  const numbers = Object.keys(counted[0])
  return {
    values: Object.fromEntries(numbers.map((number) => [number, { ...spread(counted.map((sample) => sample[number])), max: rounded(Math.max(...counted.map((sample) => sample[number]))) }])),
    samples: samples.map((sample) => numbers.map((number) => rounded(sample[number]))),
  }
}

/**
 * The most that `du -sb` says of a directory while something runs. It may count a file twice that is renamed while du walks;
 * what it says between two slices is exact.
 */
async function largestWhile(work, dir) {
  let working = true
  const done = work.finally(() => {
    working = false
  })
  let largest = 0
  while (working) {
    largest = Math.max(largest, await bytesIn(dir))
    await Promise.race([done, sleep(40)])
  }
  return largest
}

function bytesIn(dir) {
  return new Promise((resolve) => {
    // a file that goes while du looks at it makes du fail, with the sum all the same
    execFile('du', ['-sb', dir], (_error, out) => resolve(Number.parseInt(out, 10) || 0))
  })
}
