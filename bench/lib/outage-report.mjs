/* The tables of docs/reliability.md, made from a results file. */
import { asMarkdown, asText, digits } from './report.mjs'

const NEVER = 'never started'
const HEADINGS = {
  never: ['cache', 'first call, ms', '1,000th call, ms', 'thousand together, ms', 'exceptions', 'back in use, s'],
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
  const { sequence, together } = row
  const first = sequence.calls === 1 && !sequence.isComplete ? cap : ms(sequence.firstMs)
  const reached = `${cap} (${digits(sequence.calls)} ${sequence.calls === 1 ? 'call' : 'calls'})`
  if (together !== undefined) return [row.contender, first, sequence.isComplete ? ms(sequence.lastMs) : reached, together.isComplete ? ms(together.ms) : cap, exceptionsOf(row), backText(row.back, meta)]
  return [row.contender, first, sequence.isComplete ? ms(sequence.sumMs) : reached, exceptionsOf(row), staleText(row, meta), backText(row.back, meta)]
}

function tableOf({ rows, meta }, outage) {
  return [outage === NEVER ? HEADINGS.never : HEADINGS.other, ...rows.filter((row) => row.outage === outage).map((row) => rowOf(row, meta))]
}

export function outageText(results, outage) {
  return asText(tableOf(results, outage))
}

export function outagePage(results, file) {
  const { meta, rows } = results
  const outages = [...new Set(rows.map((row) => row.outage))]
  const caches = new Map(rows.map((row) => [row.contender, row.with]))
  const used = ['@thermocline/redis', 'bentocache', 'layered-loader', 'ioredis', 'cacheable', 'keyv', '@keyv/redis']
  return [
    `Measured ${meta.startedAt.slice(0, 10)} in one run with Node ${meta.node} and Redis ${meta.redis} on ${meta.cores} cores (${meta.platform}), commit ${meta.commit}; at most ${digits(meta.capMs / 1000)} s a sequence. Raw results: \`bench/results/${file}\`.`,
    asMarkdown([['cache', 'set up with'], ...caches]),
    ...outages.map((outage) => `### ${outage[0].toUpperCase()}${outage.slice(1)}\n\n${asMarkdown(tableOf(results, outage))}`),
    `Versions: ${used.map((name) => `${name} ${meta.versions[name]}`).join(', ')}.`,
  ].join('\n\n')
}
