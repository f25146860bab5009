import { Command, type Cluster } from 'ioredis'
import { isReply, OutOfStep } from './errors.js'
import type { Connection } from './connection.js'

const SLOTS = 16_384
/** More names are not tried: with that many, each slot has one (but for a chance of 1 in 200 million). */
const MOST_TRIED = SLOTS * 20
/** Where the slots begin in a line of `CLUSTER NODES`, after id, address, flags, master, two instants, epoch and state. */
const FIRST_SLOT_FIELD = 8
const LEAVES = /^\[(\d+)->-([\da-f]+)\]$/

/** What the masters of a cluster say of their slots. */
export interface Slots {
  /** Which master has which, as text to be compared. */
  readonly owners: string
  /** Whether a slot is on its way from one to another. */
  readonly isMoving: boolean
  /** The slots that are leaving a master, and where to: `host:port`. */
  readonly leaving: readonly { readonly slot: number; readonly to: string }[]
}

/** Asks every master about its own slots. `undefined`: this user may not ask. */
export async function slotsNow(connection: Connection): Promise<Slots | undefined> {
  try {
    return together(await Promise.all(connection.masters().map(async (server) => slotsOf(await server.cluster('NODES')))))
  } catch (error) {
    if (isReply(error, 'NOPERM')) return undefined
    throw error
  }
}

/** The first name in a slot; `undefined`: a hash tag in all of them keeps them in another. */
export function nameInSlot(slot: number, nameOf: (n: number) => string): string | undefined {
  if (areTogether(nameOf)) return slotOf(nameOf(0)) === slot ? nameOf(0) : undefined
  for (let n = 0; n < MOST_TRIED; n++) {
    const name = nameOf(n)
    if (slotOf(name) === slot) return name
  }
  return undefined
}

/** The least numbers whose names lie on each of the masters. */
export function numbersOnEachMaster({ slots }: Cluster, nameOf: (n: number) => string): number[] {
  if (areTogether(nameOf)) return [0]
  const missing = new Set(slots.flatMap(([master]) => master ?? []))
  const numbers: number[] = []
  for (let n = 0; missing.size > 0 && n < MOST_TRIED; n++) {
    const master = slots[slotOf(nameOf(n))]?.[0]
    if (master !== undefined && missing.delete(master)) numbers.push(n)
  }
  return numbers
}

/** Whether a hash tag in their prefix keeps all names in one slot: two of a few names are in the same one by chance only. */
function areTogether(nameOf: (n: number) => string): boolean {
  const slot = slotOf(nameOf(0))
  return [1, 2, 3].every((n) => slotOf(nameOf(n)) === slot)
}

/** As the client sees it. */
function slotOf(name: string): number {
  return new Command('get', [name]).getSlot()
}

/** Of one answer to `CLUSTER NODES`: only a node itself knows which of its slots are on their way. */
function slotsOf(nodes: unknown): Slots {
  const lines = typeof nodes === 'string' ? nodes.split('\n').map((line) => line.split(' ')) : []
  const own = lines.find(([, , flags]) => flags?.split(',').includes('myself') === true)
  if (own === undefined) throw new OutOfStep()
  const slots = own.slice(FIRST_SLOT_FIELD)
  const addresses = new Map(lines.map(([id, address]) => [id, address?.split(/[@,]/, 1)[0]]))
  const leaving = slots.flatMap((slot) => {
    const [, number, id] = LEAVES.exec(slot) ?? []
    const to = addresses.get(id)
    return number === undefined || to === undefined ? [] : [{ slot: Number(number), to }]
  })
  return { owners: `${own[0]} ${slots.filter((slot) => !slot.startsWith('[')).join(' ')}`, isMoving: slots.some((slot) => slot.startsWith('[')), leaving }
}

function together(all: readonly Slots[]): Slots {
  return {
    owners: all.map(({ owners }) => owners).sort().join('\n'),
    isMoving: all.some(({ isMoving }) => isMoving),
    leaving: all.flatMap(({ leaving }) => leaving),
  }
}
