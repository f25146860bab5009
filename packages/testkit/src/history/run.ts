import { checkHistory } from './check.js'
import { Crew } from './crew.js'
import { excerptOf } from './excerpt.js'
import { plannedCalls, plannedChances } from './plan.js'
import { History } from './records.js'
import type { HistorySubject } from './subject.js'
import { Weather } from './weather.js'
import type { Violation } from './violation.js'

export interface HistoryOptions {
  /** What the stores are called in reports. */
  readonly name: string
  readonly create: () => Promise<HistorySubject> | HistorySubject
  /** What is drawn from it is the same each time: calls, faults and waits. Which of two calls comes first is not. */
  readonly seed: number
  /** How many calls are made. */
  readonly operations: number
  /** How many managers are on the stores at once. Default 1. */
  readonly managers?: number | undefined
  /** Callers of each manager. Default 8. */
  readonly clients?: number | undefined
  /** Calls a second, on average: they come in gusts, and faults need time. Default 100. */
  readonly pace?: number | undefined
  /**
   * The tier whose disk keeps what a manager owes: managers are closed and opened again meanwhile. Its own faults stop for that time: what the
   * disk itself cannot take, a restart loses. Default: none, and one manager to the end.
   */
  readonly restartsWith?: string | undefined
  /** Where several managers have tiers of their own, how long these serve an entry, in milliseconds. Default one minute. */
  readonly maxTtlMs?: number | undefined
  /** How long a call may be without an answer, in milliseconds. Default 30 s: the budget of each tier once, and then some for a busy machine. */
  readonly patienceMs?: number | undefined
  /** How a person runs the same again. */
  readonly again?: string | undefined
}

export interface HistoryReport {
  readonly history: History
  readonly violations: readonly Violation[]
  /** How many reads returned a value: of a run with few of them nothing follows. */
  readonly hits: number
  readonly reads: number
  readonly faults: number
  /** How often managers left a tier out. */
  readonly degradations: number
}

const CHANCES = 10_000
const SHOWN_AT_MOST = 3

/**
 * Lets many clients call one manager or several on real stores, while what can go wrong there goes wrong, records every call, and judges
 * the history by {@link checkHistory}.
 *
 * @throws Error with the seed, the schedule of faults and an excerpt of the history, if a promise was broken
 */
export async function runHistory(options: HistoryOptions): Promise<HistoryReport> {
  const report = await recordHistory(options)
  if (report.violations.length > 0) throw new Error(told(options, report))
  return report
}

/** As {@link runHistory}, and leaves it to the caller what to make of violations. */
export async function recordHistory(options: HistoryOptions): Promise<HistoryReport & { readonly schedule: readonly string[] }> {
  const { seed, operations, managers = 1 } = options
  const history = new History()
  const subject = await options.create()
  const chances = plannedChances(seed, CHANCES)
  let drawn = 0
  const weather = new Weather(subject.faults ?? [], history, () => chances[drawn++ % CHANCES] as number)
  const crew = new Crew(subject, history, { managers, clients: options.clients ?? 8, pace: options.pace ?? 100, restartsWith: options.restartsWith, patienceMs: options.patienceMs ?? 30_000 })
  try {
    await crew.work(plannedCalls(seed, operations), weather)
  } finally {
    await weather.stop()
    await crew.close()
    await subject.cleanUp()
  }
  const violations = checkHistory(history, { managers: managers === 1 ? 'one' : 'several', maxTtlMs: options.maxTtlMs })
  const reads = history.records.filter((record) => record.kind === 'read')
  return {
    history,
    violations,
    reads: reads.length,
    hits: reads.filter(({ answer }) => answer?.is === 'version').length,
    faults: weather.schedule.length,
    degradations: crew.degradations,
    schedule: weather.schedule,
  }
}

function told({ name, seed, operations, again }: HistoryOptions, { history, violations, schedule }: HistoryReport & { readonly schedule: readonly string[] }): string {
  // one value that is back is read many times
  const causes = new Map(violations.map((violation) => [`${violation.rule} ${violation.records[0]?.calledAt}`, violation] as const).reverse())
  const excerpts = [...causes.values()].reverse().slice(0, SHOWN_AT_MOST).map((violation) => excerptOf(history, violation))
  return [
    `${violations.length} of the calls on ${name} broke a promise (seed ${seed}, ${operations} operations)`,
    ...(again === undefined ? [] : [`again: ${again}`]),
    ...excerpts,
    ['faults:', ...schedule.map((line) => `  ${line}`)].join('\n'),
  ].join('\n\n')
}
