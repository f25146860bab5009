/*
 * What people read: a table per case on the terminal, and the tables of docs/performance.md. Everything here is made from a
 * results file, so a page can be made again from kept results.
 */
export const digits = (value) => {
  if (value === null || value === undefined) return '-'
  if (Number.isInteger(value) && Math.abs(value) < 100) return String(value)
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  if (Math.abs(value) < 0.1) return String(Number(value.toPrecision(2)))
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}
const withSpread = (numbers) => {
  if (numbers === undefined) return '-'
  return numbers.p10 === numbers.p90 ? digits(numbers.median) : `${digits(numbers.median)} [${digits(numbers.p10)} to ${digits(numbers.p90)}]`
}

/** The row of a contender that cannot do the case. */
function instead(name, reason, width) {
  return [name, reason, ...Array.from({ length: width - 2 }, () => '-')]
}

/** The rows of a case: first the headings. */
export function rowsOf({ kind, baseline, columns, contenders }) {
  if (kind === 'rate') {
    const watched = Object.values(contenders).some((result) => result.mostBytes !== undefined)
    return [
      ['contender', `times ${baseline}`, 'by CPU time', 'operations/s', ...(watched ? ['most bytes between slices', 'most bytes at any time'] : [])],
      ...Object.entries(contenders).map(([name, result]) =>
        result.cannot === undefined
          ? [name, withSpread(result.ratio), digits(result.cpuRatio.median), digits(result.opsPerSecond), ...(watched ? [digits(result.mostBytes), digits(result.mostBytesMoving)] : [])]
          : instead(name, result.cannot, watched ? 6 : 4),
      ),
    ]
  }
  return [
    ['contender', ...Object.values(columns)],
    ...Object.entries(contenders).map(([name, { values, cannot }]) =>
      cannot === undefined ? [name, ...Object.keys(columns).map((number) => withSpread(values[number]))] : instead(name, cannot, 1 + Object.keys(columns).length),
    ),
  ]
}

function asOne(number) {
  return { median: number, p10: number, p90: number }
}

/** The bars of a case with what was measured against them. */
export function barsOf({ bars, contenders, against, baseline }) {
  return bars.map((bar) => {
    const read = (name) => {
      const result = contenders[name]
      if (result === undefined) return undefined
      if (result.cannot !== undefined) return { cannot: result.cannot }
      if (bar.worst) return asOne(result.values[bar.number].max)
      if (bar.number === 'mostBytes') return asOne(result.mostBytes)
      return result.values?.[bar.number] ?? result[bar.number]
    }
    const measured = read(bar.of)
    const met = bar.atLeast === undefined ? measured.median <= bar.atMost : measured.median >= bar.atLeast
    const stretched = bar.stretch === undefined ? undefined : bar.atLeast === undefined ? measured.median <= bar.stretch : measured.median >= bar.stretch
    return { ...bar, against: bar.number === 'ratio' ? (against ?? baseline) : undefined, measured, met, stretched, peerMeasured: read(bar.peer) }
  })
}

const SUMMARY = ['what', 'bar', 'stretch', 'measured', 'met', 'peer']

function summaryRow(bar) {
  const sign = bar.atLeast === undefined ? '<=' : '>='
  return [
    bar.against === undefined ? bar.what : `${bar.what}, times ${bar.against}`,
    `${sign} ${digits(bar.atLeast ?? bar.atMost)}`,
    bar.stretch === undefined ? '' : digits(bar.stretch),
    withSpread(bar.measured),
    bar.met ? (bar.stretched ? 'yes, and the stretch' : 'yes') : '**no**',
    bar.peerMeasured === undefined ? '' : `${bar.peer} ${bar.peerMeasured.cannot ?? digits(bar.peerMeasured.median)}`,
  ]
}

export function summaryRows(results) {
  return [SUMMARY, ...results.cases.flatMap(barsOf).map(summaryRow)]
}

export function asText(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column])).join('  ')}`.trimEnd()).join('\n')
}

export function asMarkdown([head, ...rows]) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function redisOf({ redis, pinning }) {
  return redis === undefined ? '' : `Redis ${redis} on the same machine (${pinning}), `
}

function s3Of({ s3 }) {
  return s3 === undefined ? '' : `S3 is ${s3} on the same machine, `
}

function gcsOf({ gcs }) {
  return gcs === undefined ? '' : `Cloud Storage is ${gcs}, on the same machine, `
}

/** What a section was measured with. */
const SERVERS = { S3: s3Of, GCS: gcsOf }

/** Other work disturbs the ratios, however the slices take turns: the reader should know. */
function loadOf({ load, cores }) {
  if (load === undefined) return ''
  const [least, most] = [Math.min(...load), Math.max(...load)]
  return `load average ${digits(least)} to ${digits(most)}${most > 2 * cores ? ' (**the machine was busy with other work: the figures are coarse**)' : ''}, `
}

function measuredWith(meta, serverOf) {
  return `Measured ${meta.startedAt.slice(0, 10)} with Node ${meta.node} on ${meta.cores} cores (${meta.platform}), files on ${meta.fileSystem}, ${serverOf(meta)}${loadOf(meta)}commit ${meta.commit}.`
}

/** Of the runs that cases come from, as one: the last has the say. */
function metaOf(cases, meta) {
  const metas = [...new Set(cases.map((one) => one.meta ?? meta))]
  const load = metas.flatMap((one) => one.load ?? [])
  return Object.assign({}, ...metas.sort((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt)), load.length === 0 ? {} : { load })
}

/** As in the summary, without the stretch, which is an aim of ours, and without the store, which the section's heading names. */
function pageRows(results) {
  return [SUMMARY, ...results.cases.flatMap(barsOf).map((bar) => summaryRow({ ...bar, what: bar.what.replace(/^(?:S3|GCS[^:]*): /, ''), stretched: false }))].map((cells) => cells.filter((_, column) => SUMMARY[column] !== 'stretch'))
}

/** The cases whose every contender is on the page. The raw results have all of them. */
const IN_FULL = ['hot-100b', 'redis-hit-100b']

function everyContender(cases) {
  return cases.filter(({ name }) => IN_FULL.includes(name)).map((one) => `**${one.title}** (\`${one.name}\`, ${one.rounds} rounds)\n\n${asMarkdown(rowsOf(one))}`)
}

/** The cases of a section apart have their own bars, and say what they were measured with: often another run. */
function sectionOf(section, cases, meta) {
  return [`### ${section}`, measuredWith(metaOf(cases, meta), SERVERS[section] ?? redisOf), asMarkdown(pageRows({ cases })), ...everyContender(cases)]
}

/** The part of docs/performance.md that a run makes. */
export function pageOf(results, files) {
  const { meta } = results
  const general = results.cases.filter(({ section }) => section === undefined)
  const sections = grouped(results.cases)
  const parts = [
    ...(general.length === 0 ? [] : [measuredWith(metaOf(general, meta), redisOf), asMarkdown(pageRows({ cases: general })), '### Every contender', ...everyContender(general)]),
    ...[...sections].flatMap(([section, cases]) => sectionOf(section, cases, meta)),
    `Raw results: ${files.map((file) => `\`bench/results/${file}\``).join(', ')}.`,
    `Versions: ${Object.entries(meta.versions).map(([name, version]) => `${name} ${version}`).join(', ')}.`,
  ]
  return parts.join('\n\n')
}

function grouped(cases) {
  const sections = new Map()
  for (const one of cases) if (one.section !== undefined) sections.set(one.section, [...(sections.get(one.section) ?? []), one])
  return sections
}
