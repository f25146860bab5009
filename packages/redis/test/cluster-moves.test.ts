import { expect, test } from '@jest/globals'
import type { TenantCache } from '@thermocline/core'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeRedis, slotOf, startCluster, type ClusterNode, type RedisCluster } from '../../../test/support/redis/index.js'
import { until } from '../../../test/support/servers/until.js'
import { Stage } from './support/stage.js'

async function left(nodes: readonly ClusterNode[]): Promise<number> {
  const counts = await Promise.all(nodes.map((node) => node.command('DBSIZE')))
  return counts.reduce<number>((sum, count) => sum + Number(count), 0)
}

/** On a busy machine a clear may outlive its budget, and is owed then; one that has missed a key never gets there. */
async function allGone({ nodes }: RedisCluster, others = 0): Promise<void> {
  await until('all keys are gone', async () => (await left(nodes)) === others)
}

const OTHERS = 200_000

/** So many keys of another application that a scan of the node takes a while. */
async function fill(cluster: RedisCluster, node: ClusterNode): Promise<void> {
  let tag = 0
  while ((await cluster.nodeOfKey(`{${tag}}`)) !== node) tag++
  for (let at = 0; at < OTHERS; at += 1000) await node.command('MSET', ...Array.from({ length: 2000 }, (_, n) => (n % 2 === 0 ? `{${tag}}${at + n / 2}` : 'x')))
}

describeRedis('a cluster whose slots move', () => {
  const stageOf = (cluster: RedisCluster): Stage => new Stage({ cluster: cluster.addresses.slice(0, 3) }, 'redis')
  const slotIn = ({ keyPrefix }: Stage, key: string): number => slotOf(`${keyPrefix}acme:${key}`)

  /** Twenty entries, the slot of one of them, and a node without slots. */
  async function withSpare(): Promise<{ cluster: RedisCluster; acme: TenantCache; slot: number; spare: ClusterNode }> {
    const cluster = await startCluster({ spares: 1 })
    afterwards(() => cluster.stop())
    const stage = stageOf(cluster)
    const { acme } = stage
    for (let n = 0; n < 20; n++) await acme.set(`key/${n}`, n)
    return { cluster, acme, slot: slotIn(stage, 'key/7'), spare: cluster.nodes[3]! }
  }

  test('clear reaches a node that has keys of a slot, and no slot yet', async () => {
    const { cluster, acme, slot, spare } = await withSpare()
    const move = await cluster.startMove(slot, spare)
    expect(await move.migrate()).toBeGreaterThan(0)
    await acme.clear()
    await allGone(cluster)
    await move.finish()
  }, 30_000)

  test('clear reaches a node that has slots since nobody asked', async () => {
    const { cluster, acme, slot, spare } = await withSpare()
    await cluster.moveSlot(slot, spare)
    const listed: string[] = []
    for await (const { key } of acme.list()) listed.push(key)
    expect(listed).toHaveLength(20)
    await acme.clear()
    await allGone(cluster)
  }, 30_000)

  test('clear misses no key that goes from a node that is yet to be scanned to one that has been', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    const stage = stageOf(cluster)
    const { acme } = stage
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode]
    await fill(cluster, first)
    const moving: number[] = []
    for (let n = 0; moving.length < 40; n++) {
      const slot = slotIn(stage, `key/${n}`)
      if ((await cluster.nodeOfSlot(slot)) !== first) continue
      await acme.set(`key/${n}`, n)
      moving.push(slot)
    }
    const clearing = acme.clear()
    for (const slot of moving) await cluster.moveSlot(slot, second)
    await clearing
    await allGone(cluster, OTHERS)
  }, 60_000)
})
