/*
 * Many callers ask for one key that nobody has, at once. Counted: computes, and the time from the first call to the last
 * answer beyond the time the (last) compute took.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** A compute of `ms` milliseconds that counts how often it runs and notes how long it really took. */
export function countedCompute(ms, value) {
  const counted = {
    computes: 0,
    tookMs: 0,
    async compute() {
      counted.computes++
      const startedAt = process.hrtime.bigint()
      await sleep(ms)
      counted.tookMs = Math.max(counted.tookMs, msSince(startedAt))
      return value()
    },
  }
  return counted
}

/** `callers` calls of `read` at once, each of which ends in `counted.compute`. @returns a sample */
export async function addedByMany(callers, counted, read) {
  counted.computes = 0
  counted.tookMs = 0
  const startedAt = process.hrtime.bigint()
  const calls = []
  for (let n = 0; n < callers; n++) calls.push(read())
  await Promise.all(calls)
  return { addedMs: msSince(startedAt) - counted.tookMs, computes: counted.computes }
}

function msSince(startedAt) {
  return Number(process.hrtime.bigint() - startedAt) / 1e6
}
