import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import type { TenantCache } from '@thermocline/core'
import { embed, EMBEDDING_MODEL, similarity } from './embed.js'
import { decodeImage, encodePng, IMAGE_FILE, resize } from './images.js'
import { renderVideo } from './render.js'

/** An image file and the hash of its content, which names everything that is made of it. */
export interface Source {
  readonly name: string
  readonly bytes: Buffer
  readonly id: string
}

export interface Match {
  readonly name: string
  readonly score: number
}

const FRAME = [320, 180] as const
const THUMBNAIL = [96, 54] as const
const MATCHES = 3

/** The images in a folder, in the order of their names. */
export async function readSources(directory: string): Promise<Source[]> {
  const names = (await readdir(directory)).filter((name) => IMAGE_FILE.test(name)).sort()
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(path.join(directory, name))
      return { name, bytes, id: digest(bytes) }
    }),
  )
}

/*
 * Each step has the same shape: a key that says what the result depends on, and a function that computes it. Which tiers have it, and
 * whether they are written now or later, is the YAML file's business.
 */

export function frameOf(cache: TenantCache, { id, bytes }: Source): Promise<Buffer> {
  return cache.getOrCompute(`frames/${id}/${FRAME.join('x')}.png`, () => encodePng(resize(decodeImage(bytes), ...FRAME)))
}

export function thumbnailOf(cache: TenantCache, source: Source): Promise<Buffer> {
  return cache.getOrCompute(`thumbnails/${source.id}/${THUMBNAIL.join('x')}.png`, async () => {
    return encodePng(resize(decodeImage(await frameOf(cache, source)), ...THUMBNAIL))
  })
}

export function embeddingOf(cache: TenantCache, source: Source): Promise<Float32Array> {
  return cache.getOrCompute(`embeddings/${EMBEDDING_MODEL}/${source.id}`, async () => embed(decodeImage(await frameOf(cache, source))))
}

/** The images that look most like one of them. */
export function searchLike(cache: TenantCache, sources: readonly Source[], wanted: Source): Promise<Match[]> {
  return cache.getOrCompute(`search_results/${idOfAll(sources)}/${wanted.id}`, async () => {
    const asked = await embeddingOf(cache, wanted)
    const scored = await Promise.all(sources.map(async (source) => ({ name: source.name, score: similarity(asked, await embeddingOf(cache, source)) })))
    return scored
      .filter(({ name }) => name !== wanted.name)
      .sort((a, b) => b.score - a.score)
      .slice(0, MATCHES)
  })
}

/** A video of all of them: made, stored and read as a stream. */
export function videoOf(cache: TenantCache, sources: readonly Source[]): Promise<Readable> {
  return cache.getOrComputeStream(`renders/${idOfAll(sources)}/video.y4m`, () => {
    return renderVideo(sources.length, async (index) => decodeImage(await frameOf(cache, sources[index] as Source)))
  })
}

function idOfAll(sources: readonly Source[]): string {
  return digest(sources.map(({ name, id }) => `${name} ${id}`).join('\n'))
}

function digest(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex').slice(0, 32)
}
