import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadCache } from '@thermocline/config'
import { readDocuments } from './documents.js'
import { buildIndex, search } from './pipeline.js'
import { inProcesses, tellStats } from './processes.js'
import { Progress } from './progress.js'
import { describeStats, inTotal, seconds, tiersByHits } from './report.js'

const HELP = `Splits, embeds, indexes and searches a directory of documents for two tenants, every expensive step cached.

  npm run quickstart -- documents             this repository's own documents
  npm run quickstart -- --dir PATH            your documents (.md, .txt, .rst)
  npm run quickstart -- --query "QUESTION"    ask something else (may be repeated)
  npm run quickstart -- --processes 4         in several processes at once: each step is computed once

With REDIS_URL set (redis://localhost:6379), a Redis stands between memory and disk.
`
/** Where results live is said in these files, not in the code. */
const cacheFile = (isPart: boolean): string => ((process.env['REDIS_URL'] ?? '') !== '' ? 'cache-redis.yaml' : isPart ? 'cache-processes.yaml' : 'cache.yaml')
const MOST_PROCESSES = 64
const TENANTS = ['acme', 'globex']
const QUESTIONS = ['what happens when redis or a disk is down', 'how are tenants kept apart', 'how long does an entry live', 'what does a promotion do', 'how do I write an adapter']
/** How often each question is asked: people ask the same things. */
const ROUNDS = 4

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: 'string' }, query: { type: 'string', multiple: true }, processes: { type: 'string' }, part: { type: 'boolean', default: false }, help: { type: 'boolean' } } })
  if (values.help === true) return console.log(HELP)
  const count = Number(values.processes ?? 1)
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_PROCESSES)) throw new Error(`--processes takes a whole number from 1 to ${MOST_PROCESSES}, not ${values.processes}`)
  const startedAt = performance.now()
  const directory = path.resolve(values.dir ?? '.')
  const documents = await readDocuments(directory)
  if (documents.length === 0) throw new Error(`no .md, .txt or .rst files below ${directory}: name another directory with --dir`)
  console.log(`${documents.length} documents in ${directory}\n`)
  if (count > 1 && !values.part) return runTogether(count, startedAt)

  const cache = await loadCache(fileURLToPath(new URL(`../${cacheFile(values.part)}`, import.meta.url)), { logger: false })
  const out = new Set<string>()
  cache.on('degraded', ({ tier, error }) => {
    if (!out.has(tier)) console.log(`  The tier ${tier} does not answer and is left out: ${error?.message ?? 'it failed'}`)
    out.add(tier)
  })
  try {
    for (const tenant of TENANTS) {
      const own = cache.tenant(tenant)
      const progress = new Progress(`${tenant}: embedding`.padEnd(20))
      const index = await buildIndex(own, documents, (done, of) => progress.show(done, of))
      for (let round = 0; round < ROUNDS; round++) {
        for (const question of values.query ?? QUESTIONS) {
          const answers = await search(own, index, question)
          if (round > 0 || tenant !== TENANTS[0]) continue
          console.log(`\n  ? ${question}`)
          for (const { document, heading, score, excerpt } of answers) console.log(`    ${score.toFixed(2)}  ${document}${heading === '' ? '' : ` > ${heading}`}: ${excerpt}`)
        }
      }
      if (tenant === TENANTS[0]) console.log()
    }
    const stats = await cache.stats()
    if (values.part) await tellStats(stats)
    const computed = Object.values(stats.policies).reduce((sum, policy) => sum + policy.computeSeconds, 0)
    const saved = Object.values(stats.policies).reduce((sum, policy) => sum + policy.savedSeconds, 0)
    console.log(`\n${describeStats(stats)}\n`)
    console.log(`This run took ${seconds((performance.now() - startedAt) / 1000)}, ${seconds(computed)} of it computing. Without the cache: ${seconds(saved)} more of computing.`)
    const [from] = tiersByHits(stats, 'embeddings')
    console.log(computed > saved || from === undefined ? 'Run it again: a new process finds the embeddings.' : `The embeddings came from the ${from} tier, written by an earlier process.`)
  } finally {
    await cache.close()
  }
}

/** The same in several processes, which share a directory or a Redis and nothing else. */
async function runTogether(count: number, startedAt: number): Promise<void> {
  console.log(`  ${count} processes at once, each with all documents and all questions`)
  const total = inTotal(await inProcesses(count, process.argv.slice(2)))
  console.log(`\n${describeStats(total)}\n`)
  const policies = Object.values(total.policies)
  const computes = policies.reduce((sum, policy) => sum + policy.computes, 0)
  const avoided = policies.reduce((sum, { hits, coalesced }) => sum + hits + coalesced, 0)
  console.log(`This run took ${seconds((performance.now() - startedAt) / 1000)}. All ${count} processes together made ${computes} computes, and were spared ${avoided}.`)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
