import { invalid, type Reply } from './reply.js'

/** A selection of fields: a name with what is wanted inside of it, or all of it. */
interface Selection {
  readonly [name: string]: Selection | true
}

/** A "partial response": `fields=nextPageToken,items(name,size)` (cloud.google.com/storage/docs/json_api#partial-response). */
export function partial(reply: Reply, fields: string | null): Reply {
  if (fields === null || reply.status >= 300 || typeof reply.body !== 'object' || Buffer.isBuffer(reply.body)) return reply
  return { ...reply, body: select(reply.body, parse(fields)) as object }
}

function parse(text: string): Selection {
  if (!/^[\w,()/*]+$/.test(text) || /[/*]/.test(text)) throw invalid(`Invalid field selection ${text}`) // paths and wildcards are not modelled
  const stack: Record<string, Selection | true>[] = [{}]
  let last = ''
  for (const [token] of text.matchAll(/[A-Za-z0-9_]+|[(),]/g)) {
    const top = stack.at(-1) as Record<string, Selection | true>
    if (token === '(') stack.push((top[last] = {}))
    else if (token === ')') stack.pop()
    else if (token !== ',') top[(last = token)] = true
  }
  if (stack.length !== 1) throw invalid(`Invalid field selection ${text}`)
  return stack[0] as Selection
}

function select(value: unknown, selection: Selection | true): unknown {
  if (selection === true) return value
  if (Array.isArray(value)) return value.map((one) => select(one, selection))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).flatMap(([name, inner]) => (selection[name] === undefined ? [] : [[name, select(inner, selection[name])]])))
}
