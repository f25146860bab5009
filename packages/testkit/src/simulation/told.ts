import { excerptOf } from '../history/excerpt.js'
import type { Schedule, Step } from './schedule.js'
import type { Simulated } from './simulate.js'

/** A schedule that broke a promise, for a person to read: what was done, and what came of it. */
export function toldOf({ processes, stack, steps }: Schedule, { history, violations }: Simulated): string {
  const [first] = violations
  return [
    `${processes} processes, each with ${stack === 'nothing' ? 'no tier of its own' : stack} over a shared store:`,
    ...steps.map((step) => `  ${lineOf(step, processes)}`),
    ...(first === undefined ? ['nothing was wrong'] : [excerptOf(history, first)]),
  ].join('\n')
}

function lineOf(step: Step, processes: number): string {
  const when = `after ${step.afterMs} ms, process ${step.process % processes}:`
  if ('trouble' in step) return `${when} ${step.trouble}${INSTANT.has(step.trouble) ? '' : ` for ${step.lastsMs} ms`}`
  const { verb, key, keys, prefix, without, ttlMs, slowMs } = step.call
  const what = verb === 'clear' ? `of ${JSON.stringify(prefix)}` : verb === 'getMany' || verb === 'setMany' ? keys.join(' and ') : key
  const life = typeof ttlMs === 'number' ? `, for ${ttlMs} ms` : ''
  return `${when} ${verb} ${what}${without === 'none' ? '' : `, without ${without}`}${life}${verb === 'getOrCompute' ? `, in ${slowMs} ms` : ''}`
}

const INSTANT: ReadonlySet<string> = new Set(['kill', 'reset', 'clock', 'evict', 'trim', 'flush'])
