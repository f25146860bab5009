import type { Redis } from 'ioredis'
import { OutOfStep } from './errors.js'

type Answered = (error: unknown, reply?: unknown) => void

/**
 * Lets the client of a cluster have only such answers to `CLUSTER SLOTS` as it can read: others make it throw where nobody can catch it
 * (ioredis 6.0.0, `Cluster.getInfoFromNode`), which ends the process. It asks over a copy of a node's connection.
 */
export function checkSlotsOf(node: Redis): void {
  const duplicate = node.duplicate.bind(node)
  node.duplicate = (override) => {
    const copy = duplicate(override)
    const ask = copy.cluster.bind(copy) as (subcommand: string, answered: Answered) => Promise<unknown>
    copy.cluster = ((subcommand: string, answered: Answered) =>
      ask(subcommand, (error, reply) => {
        if (error != null || subcommand !== 'SLOTS' || areSlots(reply)) answered(error, reply)
        else answered(new OutOfStep())
      })) as unknown as typeof copy.cluster
    return copy
  }
}

/** A list of `[first, last, [host, port, ...], ...]`. https://redis.io/docs/latest/commands/cluster-slots/ */
function areSlots(reply: unknown): boolean {
  return Array.isArray(reply) && reply.every((range: unknown) => Array.isArray(range) && Number.isInteger(range[0]) && Number.isInteger(range[1]) && range.slice(2).every(Array.isArray))
}
