import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadCache } from '@thermocline/config'
import type { TenantCache, TieredCacheManager } from '@thermocline/core'
import { embeddingOf, frameOf, readSources, searchLike, thumbnailOf, videoOf, type Source } from './pipeline.js'
import { bytes, describeSteps, seconds } from './report.js'
import { writeSample } from './sample.js'

const HELP = `Scales, shrinks and embeds a folder of images, finds those that look alike, and renders a video of all of them.

  npm run quickstart -- media                 a short film that is drawn at the first run
  npm run quickstart -- media --dir FOLDER    your images (.png, .jpg)

With S3_ENDPOINT and S3_BUCKET set, frames, embeddings and the video go to that bucket too; or with GCS_BUCKET.
`
const TENANT = 'studio'

/** Where results live is said in these files, not in the code. */
function cacheFile(): string {
  const isSet = (name: string): boolean => (process.env[name] ?? '') !== ''
  if (isSet('S3_ENDPOINT') && isSet('S3_BUCKET')) return 'cache-s3.yaml'
  return isSet('GCS_BUCKET') ? 'cache-gcs.yaml' : 'cache.yaml'
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: 'string' }, help: { type: 'boolean' } } })
  if (values.help === true) return console.log(HELP)
  const startedAt = performance.now()
  const directory = path.resolve(values.dir ?? path.join(process.env['PIPELINE_CACHE_DIR'] ?? '.thermocline/quickstart', 'sample-film'))
  if (values.dir === undefined && !existsSync(directory)) await writeSample(directory)
  const sources = await readSources(directory)
  const first = sources[0]
  if (first === undefined) throw new Error(`no .png or .jpg files in ${directory}: name another folder with --dir`)
  console.log(`${sources.length} images in ${directory}\n`)

  const cache = await loadCache(fileURLToPath(new URL(`../${cacheFile()}`, import.meta.url)), { logger: false })
  const out = new Set<string>()
  cache.on('degraded', ({ tier, error }) => {
    if (!out.has(tier)) console.log(`  The tier ${tier} does not answer and is left out: ${error?.message ?? 'it failed'}`)
    out.add(tier)
  })
  try {
    await run(cache, sources, first)
    console.log(`\nThis run took ${seconds((performance.now() - startedAt) / 1000)}.`)
  } finally {
    await cache.close()
  }
}

async function run(cache: TieredCacheManager, sources: readonly Source[], first: Source): Promise<void> {
  const own = cache.tenant(TENANT)
  for (const source of sources) {
    await frameOf(own, source)
    await thumbnailOf(own, source)
    await embeddingOf(own, source)
  }
  for (const wanted of [first, sources[Math.floor(sources.length / 2)] ?? first]) {
    const matches = await searchLike(own, sources, wanted)
    console.log(`  like ${wanted.name}: ${matches.map(({ name, score }) => `${name} (${score.toFixed(3)})`).join(', ')}`)
  }
  await showVideo(cache, own, sources)
  const stats = await cache.stats()
  console.log(`\n${describeSteps(stats)}\n`)
  await showUploads(cache)
}

/** Reads the video to its end, a piece at a time. */
async function showVideo(cache: TieredCacheManager, own: TenantCache, sources: readonly Source[]): Promise<void> {
  let from = 'made'
  const stop = cache.on('hit', ({ tier, policy }) => {
    if (policy === 'renders') from = `from the tier ${tier}`
  })
  const startedAt = performance.now()
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of (await videoOf(own, sources)) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    size += chunk.byteLength
  }
  stop()
  console.log(`  video: ${bytes(size)} streamed in ${seconds((performance.now() - startedAt) / 1000)}, ${from}, sha256 ${hash.digest('hex').slice(0, 16)}`)
}

/** What the bucket does not have yet, and how long it takes until it has. */
async function showUploads(cache: TieredCacheManager): Promise<void> {
  const { tiers, writeBack: before } = await cache.stats()
  const { cold } = tiers
  if (cold === undefined) return console.log('There is no bucket: everything stays on this disk. With S3_ENDPOINT and S3_BUCKET, or GCS_BUCKET, other machines find it too.')
  const pending = `${before.pending} pending (${bytes(before.bytes)})`
  if (cold.state === 'degraded') return console.log(`To be written back: ${pending}. They stay in the journal on the disk; the next run uploads them.`)
  const startedAt = performance.now()
  const left = await cache.flush({ deadline: '20s' })
  const { writeBack: after } = await cache.stats()
  const flushed = seconds((performance.now() - startedAt) / 1000)
  console.log(`Written back: ${before.uploaded} uploaded meanwhile, ${pending}. After a flush of ${flushed}: ${after.uploaded} uploaded, ${left.pending} pending.`)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
