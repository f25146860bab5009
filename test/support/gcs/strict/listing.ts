import { invalid, notModelled } from './reply.js'
import { objectResource, type StoredBucket } from './store.js'

/** A page has no more than this, whatever is asked for. */
const MOST_RESULTS = 1_000
const NOT_MODELLED = ['matchGlob', 'versions', 'softDeleted', 'filter']

/**
 * Lists a bucket (cloud.google.com/storage/docs/json_api/v1/objects/list): in the order of the names' bytes; `prefixes` hold what is
 * up to the first delimiter after the prefix, each once, and count as results; the page token stands for the last name of the page.
 */
export function listObjects(bucket: StoredBucket, query: URLSearchParams): object {
  for (const name of NOT_MODELLED) if (query.has(name) && query.get(name) !== 'false') throw notModelled(`${name} of a listing`)
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const [start, end] = [query.get('startOffset'), query.get('endOffset')]
  const most = Math.min(MOST_RESULTS, readMaxResults(query.get('maxResults')))
  const after = readPageToken(query.get('pageToken'))

  const items: object[] = []
  const prefixes: string[] = []
  let last: string | undefined
  for (const name of [...bucket.objects.keys()].sort(compareBytes)) {
    if (!name.startsWith(prefix) || (start !== null && compareBytes(name, start) < 0) || (end !== null && compareBytes(name, end) >= 0)) continue
    const cut = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
    const folder = cut === -1 ? undefined : name.slice(0, cut + delimiter.length)
    const result = folder ?? name
    if (after !== undefined && compareBytes(result, after) <= 0) continue
    const isItem = folder === undefined || (name === folder && query.get('includeTrailingDelimiter') === 'true')
    const isNewPrefix = folder !== undefined && prefixes.at(-1) !== folder
    if (!isItem && !isNewPrefix) continue
    if (items.length + prefixes.length >= most) return { ...page(items, prefixes), nextPageToken: writePageToken(last ?? '') }
    if (isNewPrefix) prefixes.push(folder)
    const object = bucket.objects.get(name)
    if (isItem && object !== undefined) items.push(objectResource(object))
    last = result
  }
  return page(items, prefixes)
}

/** Empty lists are left out. */
function page(items: readonly object[], prefixes: readonly string[]): object {
  return { kind: 'storage#objects', ...(items.length === 0 ? {} : { items }), ...(prefixes.length === 0 ? {} : { prefixes }) }
}

function readMaxResults(text: string | null): number {
  if (text === null) return MOST_RESULTS
  if (!/^\d+$/.test(text)) throw invalid(`Invalid value for: Invalid unsigned integer value: '${text}'`)
  return Number(text) === 0 ? MOST_RESULTS : Number(text)
}

function writePageToken(name: string): string {
  return Buffer.from(JSON.stringify([name])).toString('base64')
}

function readPageToken(token: string | null): string | undefined {
  if (token === null || token === '') return undefined
  try {
    const [name] = JSON.parse(Buffer.from(token, 'base64').toString()) as unknown[]
    if (typeof name === 'string') return name
  } catch {
    // the same answer
  }
  throw invalid('Invalid argument.')
}

/** As UTF-8: JavaScript's own order puts U+FFFF before U+10000. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
