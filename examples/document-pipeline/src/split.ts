/** A piece of a document, small enough to be one search result. */
export interface Chunk {
  readonly heading: string
  readonly text: string
}

const LONGEST_CHUNK = 900

/** Splits Markdown or plain text at headings and blank lines, joining paragraphs up to some 900 characters. */
export function split(text: string): Chunk[] {
  const chunks: Chunk[] = []
  let heading = ''
  let pending: string[] = []
  const flush = (): void => {
    const joined = pending.join('\n\n').trim()
    if (joined !== '') chunks.push({ heading, text: joined })
    pending = []
  }
  for (const paragraph of text.split(/\n\s*\n/)) {
    const title = /^#{1,6}\s+(.+)$/m.exec(paragraph)?.[1]
    if (title !== undefined) {
      flush()
      heading = title.trim()
    }
    if (pending.join('').length + paragraph.length > LONGEST_CHUNK) flush()
    pending.push(paragraph)
  }
  flush()
  return chunks
}
