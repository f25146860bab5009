/* The tables of docs/outages.md, made from a results file. */
import { asMarkdown, asText, digits } from './report.mjs'

const NEVER = 'never started'
/** The others differ little from these; the raw results have them. */
const ON_PAGE = ['never started', 'killed, connections refused', 'stopped (SIGSTOP)', 'out of memory (noeviction)']
const HEADINGS = {
  [NEVER]: ['cache', 'first call, ms', '1,000th call, ms', 'thousand together, ms', 'exceptions', 'back in use, s'],
  'busy process': ['cache', 'values not found', 'writes lost', 'exceptions'],
  burst: ['cache', 'all answered after, ms', 'writes lost', 'exceptions'],
  other: ['cache', 'first call, ms', '20 calls, ms', 'exceptions', 'old values afterwards', 'back in use, s'],
}
/** Fewer than a microsecond's digits say nothing. */
const ms = (number) => (number < 0.1 ? number.toFixed(3) : digits(number))

function exceptionsOf({ sequence, together, change, problems }) {
  const calls = sequence.exceptions + (together?.exceptions ?? 0)
  const changes = change === undefined ? 0 : [...change.set, ...change.deleted].filter((outcome) => outcome === 'thrown').length
  const parts = [
    ...(calls > 0 ? [`${digits(calls)} reads`] : []),
    ...(changes > 0 ? [`${changes} writes`] : []),
    ...(problems.unhandled > 0 ? [`${digits(problems.unhandled)} unhandled`] : []),
  ]
  return parts.length === 0 ? '0' : parts.join(', ')
}

function staleText({ stale, change }, { changed }) {
  const unanswered = [...change.set, ...change.deleted].filter((outcome) => outcome === 'unanswered').length
  const of = `of ${2 * changed}`
  const parts = [
    `${stale.done} ${of}`,
    ...(stale.thrown > 0 ? [`and ${stale.thrown} whose change had thrown`] : []),
    ...(stale.unanswered > 0 ? [`and ${stale.unanswered} whose change was unanswered`] : []),
    ...(unanswered > 0 && stale.unanswered === 0 ? [`(${unanswered} changes unanswered)`] : []),
  ]
  return parts.join(' ')
}

function backText(back, { capMs }) {
  if (back === undefined) return '-'
  return back.seconds === undefined ? `not within ${digits(capMs / 1000)}` : digits(back.seconds)
}

function rowOf(row, meta) {
  const cap = `> ${digits(meta.capMs)}`
  if (row.failed !== undefined) return [row.contender, row.failed, '-', '-', '-', '-']
  const { sequence, together, busy, burst, problems } = row
  if (busy !== undefined) return [row.contender, of(busy.reads, meta.busyRounds), of(busy.writes, meta.busyRounds), thrownText(busy.exceptions, problems)]
  if (burst !== undefined) return [row.contender, burst.isComplete ? ms(burst.ms) : cap, of(burst.lost, meta.burst), thrownText(burst.exceptions, problems)]
  const first = sequence.calls === 1 && !sequence.isComplete ? cap : ms(sequence.firstMs)
  const reached = `${cap} (${digits(sequence.calls)} ${sequence.calls === 1 ? 'call' : 'calls'})`
  if (together !== undefined) return [row.contender, first, sequence.isComplete ? ms(sequence.lastMs) : reached, together.isComplete ? ms(together.ms) : cap, exceptionsOf(row), backText(row.back, meta)]
  return [row.contender, first, sequence.isComplete ? ms(sequence.sumMs) : reached, exceptionsOf(row), staleText(row, meta), backText(row.back, meta)]
}

const of = (lost, all) => `${digits(lost)} of ${digits(all)}`

function thrownText(exceptions, { unhandled }) {
  return unhandled > 0 ? `${digits(exceptions)}, ${digits(unhandled)} unhandled` : digits(exceptions)
}

function tableOf({ rows, meta }, outage) {
  return [HEADINGS[outage] ?? HEADINGS.other, ...rows.filter((row) => row.outage === outage).map((row) => rowOf(row, meta))]
}

/** Without columns in which every cache has 0, and the page says so. */
function withoutNothing([head, ...rows]) {
  const says = head.map((_, column) => rows.some((cells) => cells[column] !== '0'))
  return [head, ...rows].map((cells) => cells.filter((_, column) => says[column]))
}

export function outageText(results, outage) {
  return asText(tableOf(results, outage))
}

/** @param runs results, each with the name of its file; of an outage the last one counts */
export function outagePage(runs) {
  const runOf = new Map(runs.flatMap((run) => run.rows.map(({ outage }) => [outage, run])))
  const caches = new Map(runs.flatMap(({ rows }) => rows.map((row) => [row.contender, row.with])))
  const used = ['@thermocline/redis', 'bentocache', 'layered-loader', 'ioredis', 'cacheable', 'keyv', '@keyv/redis']
  const { versions } = runs.at(-1).meta
  return [
    ...runs.map((run) => measuredText(run, [...runOf].filter(([, of]) => of === run).map(([outage]) => outage))),
    asMarkdown([['cache', 'set up with'], ...caches]),
    ...[...runOf].filter(([outage]) => ON_PAGE.includes(outage)).map(([outage, run]) => `### ${outage[0].toUpperCase()}${outage.slice(1)}\n\n${asMarkdown(withoutNothing(tableOf(run, outage)))}`),
    `Versions: ${used.map((name) => `${name} ${versions[name]}`).join(', ')}.`,
  ].join('\n\n')
}

function measuredText({ meta, file }, outages) {
  return `Measured ${meta.startedAt.slice(0, 10)} in one run with Node ${meta.node} and Redis ${meta.redis} on ${meta.cores} cores (${meta.platform}), commit ${meta.commit}; at most ${digits(meta.capMs / 1000)} s a sequence: ${outages.join('; ')}. Raw results: \`bench/results/${file}\`.`
}
