import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { runHistory, type HistoryOptions, type HistoryReport, type HistorySubject } from '@thermocline/testkit'

/** Stores to run histories on; without `missing` they are there. */
export interface HistoryStack extends Pick<HistoryOptions, 'managers' | 'clients' | 'pace' | 'restartsWith' | 'maxTtlMs'> {
  readonly name: string
  readonly create: () => Promise<HistorySubject> | HistorySubject
  readonly missing?: string | undefined
  /** Its part of all operations, in twentieths. */
  readonly part: number
}

/** All stacks of all files together make so many calls: HISTORY_OPERATIONS. */
const OPERATIONS = Number(process.env.HISTORY_OPERATIONS ?? 20_000)
/** Of all files together, of which each knows only its own: what waits for nothing makes more calls than what waits for buckets. */
const PARTS = 20
const SEED = Number(process.env.HISTORY_SEED ?? 1)
const ONLY = process.env.HISTORY_STACK
/** Calls of one history: a longer one is followed by another, with the next seed. */
const AT_ONCE = 20_000
const LEAST_PACE = 40

/** Runs all stacks side by side, as they mostly wait; a test for each tells how it went. */
export function describeHistories(title: string, stacks: readonly HistoryStack[]): void {
  const chosen = stacks.filter(({ name }) => ONLY === undefined || name === ONLY)
  if (chosen.length === 0) return describe.skip(`${title} [skipped: HISTORY_STACK names none of them]`, () => test('none', () => undefined))
  describe(title, () => {
    const running = new Map<string, Promise<HistoryReport[]>>()
    beforeAll(() => {
      for (const stack of chosen) {
        if (stack.missing !== undefined) continue
        const reports = runAll(stack)
        reports.catch(() => undefined) // told by its test
        running.set(stack.name, reports)
      }
    })
    afterAll(async () => {
      await Promise.allSettled(running.values())
    })
    for (const { name, missing, managers = 1 } of chosen) {
      const run = missing === undefined ? test : test.skip
      run(`${name}${missing === undefined ? '' : ` [skipped: ${missing}]`}`, async () => {
        const reports = (await running.get(name)) as HistoryReport[]
        const sum = (of: (report: HistoryReport) => number): number => reports.reduce((total, report) => total + of(report), 0)
        if (process.env.HISTORY_OPERATIONS !== undefined) {
          process.stderr.write(`${name}: ${sum(({ reads }) => reads)} reads, ${sum(({ hits }) => hits)} with a value, ${sum(({ faults }) => faults)} faults, tiers left out ${sum(({ degradations }) => degradations)} times\n`)
        }
        expect(sum(({ hits }) => hits)).toBeGreaterThan(sum(({ reads }) => reads) / (managers === 1 ? 10 : 20)) // else nothing was checked
      }, Math.max(180_000, (OPERATIONS * 1500) / LEAST_PACE))
    }
  })
}

async function runAll({ name, create, part, ...options }: HistoryStack): Promise<HistoryReport[]> {
  const reports: HistoryReport[] = []
  const all = Math.ceil((OPERATIONS * part) / (ONLY === undefined ? PARTS : part))
  for (let made = 0, seed = SEED; made < all; made += AT_ONCE, seed++) {
    const operations = Math.min(AT_ONCE, all - made)
    const again = `HISTORY_STACK=${JSON.stringify(name)} HISTORY_SEED=${seed} HISTORY_OPERATIONS=${operations} npm run -s jest -- test/history`
    const { history: _history, ...report } = await runHistory({ name, create, seed, operations, again, ...options })
    reports.push(report as HistoryReport) // without the history, which is large
  }
  return reports
}
