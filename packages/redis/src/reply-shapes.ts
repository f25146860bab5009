/*
 * What a reply may look like, by what was asked (RESP 2). The client takes some replies apart where nobody can catch what it throws (ioredis 6.0.0): the
 * text of INFO behind a sentinel, the channel of a subscription, the ranges of CLUSTER SLOTS, the address in MOVED. And what it has no use for is
 * an answer to something else.
 */

export const TYPE = { array: 0x2a, bulk: 0x24, error: 0x2d, number: 0x3a, text: 0x2b } as const

/** A command that waits for its reply. */
export interface Asked {
  readonly name: string
  readonly args: readonly unknown[]
}

/**
 * Whether a part of a reply may stand in its place. Errors instead of a whole reply are not asked about.
 *
 * @param depth 0: the reply itself; 1: an item of it
 * @param index among its neighbours
 * @param size of a bulk string its bytes, of an array its items, -1: null; of a number the number itself
 */
export type Shape = (asked: Asked, depth: number, index: number, type: number, size: number) => boolean

const SLOTS = 16_384
const MOST_PORTS = 65_536

const status: Shape = (_, depth, _index, type) => depth === 0 && type === TYPE.text
const number: Shape = (_, depth, _index, type) => depth === 0 && type === TYPE.number
const bulk: Shape = (_, depth, _index, type, size) => depth === 0 && type === TYPE.bulk && size >= 0
const bulkOrNull: Shape = (_, depth, _index, type) => depth === 0 && type === TYPE.bulk
const textOrBulk: Shape = (_, depth, _index, type, size) => depth === 0 && (type === TYPE.text || (type === TYPE.bulk && size >= 0))

/** A subscription that is confirmed, or a message: kind, channel, and a count or text. */
export const heard: Shape = (_, depth, index, type, size) =>
  depth === 0 ? type === TYPE.array && size === 3 : depth === 1 && ((type === TYPE.bulk && size >= 0) || (type === TYPE.number && index === 2))

/** https://redis.io/docs/latest/commands/cluster-slots/: first and last slot, then nodes: host, port, id, details. */
const slots: Shape = (_, depth, index, type, size) => {
  if (depth === 0) return type === TYPE.array && size >= 0
  if (depth === 1) return type === TYPE.array && size >= 2
  if (depth === 2) return index < 2 ? type === TYPE.number && size >= 0 && size < SLOTS : type === TYPE.array && size >= 2
  if (depth === 3 && index < 2) return index === 0 ? type === TYPE.bulk : type === TYPE.number && size >= 0 && size < MOST_PORTS
  return true
}

const page: Shape = (_, depth, index, type, size) => {
  if (depth === 0) return type === TYPE.array && size === 2
  if (depth === 1 && index === 1) return type === TYPE.array && size >= 0
  return type === TYPE.bulk && size >= 0
}

/** host and port, or null where the group is not known. */
const address: Shape = (_, depth, _index, type, size) => (depth === 0 ? type === TYPE.array && (size === 2 || size === -1) : depth === 1 && type === TYPE.bulk && size >= 0)
const records: Shape = (_, depth, _index, type, size) => (depth < 2 ? type === TYPE.array : depth === 2 && type === TYPE.bulk) && size >= 0

/** What our scripts answer: a number, or a list of numbers, texts and nulls. */
const answer: Shape = (_, depth, _index, type, size) => (depth === 0 && type === TYPE.array && size >= 0) || (depth < 2 && (type === TYPE.number || type === TYPE.bulk))
/** Messages of a stream: an id, and fields with their values. */
const messages: Shape = (_, depth, index, type, size) => (depth === 2 && index === 0 ? type === TYPE.bulk : depth < 3 ? type === TYPE.array : depth === 3 && type === TYPE.bulk) && size >= 0
/** The same, by stream; null where there are none. */
const streams: Shape = (asked, depth, index, type, size) => {
  if (depth === 0) return type === TYPE.array && (size === 1 || size === -1)
  if (depth === 1) return type === TYPE.array && size === 2
  if (depth === 2 && index === 0) return type === TYPE.bulk && size >= 0
  return messages(asked, depth - 2, index, type, size)
}

const SHAPES: ReadonlyMap<string, Shape> = new Map<string, Shape>([
  ['get', bulkOrNull],
  ['getrange', bulk],
  ['mget', ({ args }, depth, _, type, size) => (depth === 0 ? type === TYPE.array && size === args.length : depth === 1 && type === TYPE.bulk)],
  ['set', (_, depth, _index, type, size) => depth === 0 && (type === TYPE.text || (type === TYPE.bulk && size === -1))],
  ['unlink', number],
  ['scan', page],
  ['evalsha', answer],
  ['eval', answer],
  ['xread', streams],
  ['xrevrange', messages],
  ['ping', textOrBulk],
  ['info', bulk],
  ['auth', status],
  ['select', status],
  ['readonly', status],
  ['readwrite', status],
  ['asking', status],
  ['subscribe', heard],
])

/** Of commands whose first argument says what they do. */
const SHAPES_OF_SUBCOMMANDS: ReadonlyMap<string, Shape> = new Map<string, Shape>([
  ['cluster slots', slots],
  ['cluster nodes', bulk],
  ['cluster info', bulk],
  ['client info', bulk],
  ['client kill', (_, depth, _index, type) => depth === 0 && (type === TYPE.number || type === TYPE.text)],
  ['client setname', status],
  ['sentinel get-master-addr-by-name', address],
  ['sentinel sentinels', records],
])
const WITH_SUBCOMMANDS: ReadonlySet<string> = new Set(['cluster', 'client', 'sentinel'])

/** `undefined`: the command is none of ours, and its reply may be anything. */
export function shapeOf({ name, args }: Asked): Shape | undefined {
  return SHAPES.get(name) ?? (WITH_SUBCOMMANDS.has(name) ? SHAPES_OF_SUBCOMMANDS.get(`${name} ${String(args[0]).toLowerCase()}`) : undefined)
}

const FOREIGN: ReadonlySet<string> = new Set(['info', 'subscribe', 'psubscribe', 'ssubscribe'])

/** What matters where a client of the user's asks: only what would make it throw. */
export function shapeOfForeign(asked: Asked): Shape | undefined {
  const name = asked.name.toLowerCase()
  if (name === 'cluster') return String(asked.args[0]).toLowerCase() === 'slots' ? slots : undefined
  if (!FOREIGN.has(name)) return undefined
  return name === 'info' ? textOrBulk : heard
}

/** Whether values are asked for: one may be larger than this process takes, because another one stored it. */
export function asksForValues({ name }: Asked): boolean {
  return name === 'get' || name === 'mget'
}

const REDIRECTION = /^-(?:MOVED|ASK) /
const SOUND_REDIRECTION = /^-(?:MOVED|ASK) \d{1,5} \S{0,255}:\d{1,5}$/

/** Whether an error is one that the client of a cluster can read. */
export function isSoundError(line: string): boolean {
  return !REDIRECTION.test(line) || SOUND_REDIRECTION.test(line)
}
