import { createHash } from 'node:crypto'
import type { TenantCache } from '@thermocline/core'
import type { Document } from './documents.js'
import { embed, EMBEDDING_MODEL, similarity } from './embed.js'
import { split, type Chunk } from './split.js'

/** A searchable collection: which chunk is where, and its embedding. */
export interface Index {
  /** Identifies the contents: the same documents give the same id. */
  readonly id: string
  readonly entries: readonly { readonly document: string; readonly chunk: Chunk; readonly vector: Float32Array }[]
}

export interface Answer {
  readonly document: string
  readonly heading: string
  readonly score: number
  readonly excerpt: string
}

const ANSWERS = 3

/*
 * Each step has the same shape: a key that says what the result depends on, and a function that computes it. The policy
 * comes from the key's first segment; where results live is the YAML file's business, not this code's.
 */

export function chunksOf(cache: TenantCache, document: Document): Promise<Chunk[]> {
  return cache.getOrCompute(`chunks/v1/${digest(document.text)}`, () => split(document.text))
}

export function embeddingOf(cache: TenantCache, text: string): Promise<Float32Array> {
  return cache.getOrCompute(`embeddings/${EMBEDDING_MODEL}/${digest(text)}`, () => embed(text))
}

/** Splits and embeds all documents and puts them into one index. `onProgress` is called after each embedding. */
export async function buildIndex(cache: TenantCache, documents: readonly Document[], onProgress: (done: number, of: number) => void): Promise<Index> {
  const chunked = await Promise.all(documents.map(async (document) => ({ document, chunks: await chunksOf(cache, document) })))
  const pieces = chunked.flatMap(({ document, chunks }) => chunks.map((chunk) => ({ document: document.name, chunk })))
  const id = digest(pieces.map(({ document, chunk }) => `${document}\n${chunk.text}`).join('\n'))
  const entries: { document: string; chunk: Chunk; vector: Float32Array }[] = []
  for (const piece of pieces) {
    entries.push({ ...piece, vector: await embeddingOf(cache, piece.chunk.text) })
    onProgress(entries.length, pieces.length)
  }
  return cache.getOrCompute(`indexes/${EMBEDDING_MODEL}/${id}`, () => ({ id, entries }))
}

/** The chunks nearest to a question. */
export function search(cache: TenantCache, index: Index, question: string): Promise<Answer[]> {
  return cache.getOrCompute(`search_results/${index.id}/${digest(question)}`, async () => {
    const wanted = await embeddingOf(cache, question)
    return index.entries
      .map(({ document, chunk, vector }) => ({ document, heading: chunk.heading, score: similarity(wanted, vector), excerpt: excerptOf(chunk.text) }))
      .sort((a, b) => b.score - a.score)
      .slice(0, ANSWERS)
  })
}

function excerptOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').replace(/^#+ /, '')
  return line.length > 110 ? `${line.slice(0, 107)}...` : line
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
