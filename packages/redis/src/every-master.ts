import type { OperationOptions } from '@thermocline/backend'
import type { Redis } from 'ioredis'
import { nameInSlot, slotsNow, type Slots } from './cluster-slots.js'
import type { Connection } from './connection.js'

/*
 * Problem. While the slots of a cluster move, each of their keys is on one of two nodes. A scan of all nodes does not see a key that goes
 * from a node whose turn is yet to come to one that has had it. The node that receives may be new and have no slot so far, or have
 * some since a moment ago: then the client does not know it.
 *
 * Approach. The client looks anew who the masters are, and meets those that only receive by asking for a key in a slot on its way to them:
 * it is sent there. Whether anything moved while all were scanned is asked before and after. If so they are scanned once more. A key that
 * the first scan missed has moved meanwhile, and would have to move again for the second to miss it.
 */

/**
 * Does something on every server that has keys, all at once.
 *
 * @param strayName names that no entry can have, each another one
 * @param work may be done twice on a server; returns how many keys it was done to
 * @returns the sum of that
 */
export async function onEveryMaster(connection: Connection, options: OperationOptions, strayName: (n: number) => string, work: (server: Redis) => Promise<number>): Promise<number> {
  if (!connection.isCluster) return work(connection.client)
  const before = await meetMasters(connection, options, strayName)
  const first = await onAll(connection, work)
  options.progress?.()
  if (isSettled(before, await slotsNow(connection))) return first
  await meetMasters(connection, options, strayName)
  return first + (await onAll(connection, work))
}

/** Connects to all masters there are now. */
export async function meetMasters(connection: Connection, options: OperationOptions, strayName: (n: number) => string): Promise<Slots | undefined> {
  await connection.lookAnew(options.progress)
  await connection.ready(options)
  options.progress?.()
  const slots = await slotsNow(connection)
  options.progress?.()
  const known = new Set(connection.masters().map(({ options: { host, port } }) => `${host}:${port}`))
  const unknown = new Map(slots?.leaving.filter(({ to }) => !known.has(to)).map(({ slot, to }) => [to, slot]))
  for (const slot of unknown.values()) {
    const name = nameInSlot(slot, strayName)
    if (name !== undefined) await connection.client.getBuffer(name)
  }
  if (unknown.size > 0) await connection.ready(options)
  return slots
}

/** For a probe: its key lives on one server, and all that the cluster names have to be there. @throws Error with the reply that says otherwise */
export async function everyMasterAnswers(connection: Connection, options: OperationOptions): Promise<void> {
  await connection.lookAnew(options.progress)
  const states = await Promise.all(connection.masters().map((server) => server.cluster('INFO')))
  if (!states.every((state) => state.includes('cluster_state:ok'))) throw new Error('CLUSTERDOWN not all slots are served')
}

async function onAll(connection: Connection, work: (server: Redis) => Promise<number>): Promise<number> {
  const counts = await Promise.all(connection.masters().map(work))
  return counts.reduce((sum, count) => sum + count, 0)
}

function isSettled(before: Slots | undefined, after: Slots | undefined): boolean {
  return before !== undefined && after !== undefined && !before.isMoving && !after.isMoving && before.owners === after.owners
}
