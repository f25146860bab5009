import { freePort } from '../servers/ports.js'
import { until } from '../servers/until.js'
import type { RawReply, Reply } from './resp.js'
import { commonConfig, inStep, RedisServer } from './server.js'
import { SLOTS, slotOf } from './slots.js'

const NODE_TIMEOUT_MS = 1_000
const MOVED_AT_ONCE = 100

export interface ClusterOptions {
  /** Three by default, which is what an election needs. */
  readonly masters?: number
  /** Of each master; none by default. */
  readonly replicas?: number
  /** Masters more that have no slot yet, behind all others in `nodes`; none by default. */
  readonly spares?: number
  /** More lines for every node's redis.conf, such as `cluster-require-full-coverage no`. */
  readonly config?: readonly string[]
}

/** One server of a cluster. */
export class ClusterNode extends RedisServer {
  #id = ''

  /** What the other nodes call it. */
  get id(): string {
    return this.#id
  }

  override async start(): Promise<void> {
    await super.start()
    this.#id = String(await this.command('CLUSTER', 'MYID'))
  }
}

/** A slot on its way: clients are answered ASK for keys that have gone, and TRYAGAIN for commands on several of which some have. */
export interface SlotMove {
  readonly from: ClusterNode
  readonly to: ClusterNode
  /** Moves so many of the slot's keys, all by default. Returns how many went. */
  migrate(count?: number): Promise<number>
  /** Moves what is left and gives the slot to its new node. */
  finish(): Promise<void>
}

export class RedisCluster {
  /** The masters as started, then the replicas, then the spares. */
  readonly nodes: readonly ClusterNode[]

  constructor(nodes: readonly ClusterNode[]) {
    this.nodes = nodes
  }

  /** Of all nodes, as clients take them. */
  get addresses(): { host: string; port: number }[] {
    return this.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  }

  /** The master that has the slot, as the first node that is alive sees it. */
  async nodeOfSlot(slot: number): Promise<ClusterNode> {
    const ranges = (await this.#anyNode().command('CLUSTER', 'SLOTS')) as Reply[][]
    const range = ranges.find(([first, last]) => Number(first) <= slot && slot <= Number(last))
    const [, port] = (range?.[2] ?? []) as Reply[]
    return this.#nodeOn(Number(port))
  }

  /** The master that has the key. */
  async nodeOfKey(key: string | Uint8Array): Promise<ClusterNode> {
    return this.nodeOfSlot(slotOf(key))
  }

  /** The replicas that follow the master now. */
  async replicasOf(master: ClusterNode): Promise<ClusterNode[]> {
    const lines = (await this.#anyNode().command('CLUSTER', 'REPLICAS', master.id)) as string[]
    return lines.map((line) => this.nodes.find(({ id }) => line.startsWith(id))).filter((node) => node !== undefined)
  }

  /** Moves a slot with its keys to another master, as resharding does. */
  async moveSlot(slot: number, to: ClusterNode): Promise<void> {
    const move = await this.startMove(slot, to)
    await move.finish()
  }

  /** Begins to move a slot and leaves it between its nodes until `finish`. */
  async startMove(slot: number, to: ClusterNode): Promise<SlotMove> {
    const from = await this.nodeOfSlot(slot)
    if (from === to) throw new Error(`slot ${slot} is on the node on port ${to.port} already`)
    await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
    await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
    const migrate = async (count = Infinity): Promise<number> => {
      let moved = 0
      while (moved < count) {
        const keys = (await from.rawCommand('CLUSTER', 'GETKEYSINSLOT', slot, Math.min(MOVED_AT_ONCE, count - moved))) as Extract<RawReply, Buffer>[]
        if (keys.length === 0) break
        await from.command('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys)
        moved += keys.length
      }
      return moved
    }
    const finish = async (): Promise<void> => {
      await migrate()
      // the new node first: the old one must not send clients to a node that would send them back
      const others = this.nodes.filter((node) => node.isAlive && node !== from && node !== to)
      for (const node of [to, from, ...others]) if (await isMaster(node)) await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
    }
    return { from, to, migrate, finish }
  }

  /** Resolves when every node that is alive finds the cluster able to serve; after a failover, when it is over. */
  async healthy(): Promise<void> {
    const alive = this.nodes.filter((node) => node.isAlive)
    await Promise.all(alive.map((node) => until(`the node on port ${node.port} finds the cluster able to serve`, () => seesHealth(node), { withinMs: 15_000, everyMs: 20 })))
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  #anyNode(): ClusterNode {
    const node = this.nodes.find((candidate) => candidate.isAlive)
    if (node === undefined) throw new Error('no node of the cluster is alive')
    return node
  }

  #nodeOn(port: number): ClusterNode {
    const node = this.nodes.find((candidate) => candidate.port === port)
    if (node === undefined) throw new Error(`the cluster has no node on port ${port}`)
    return node
  }
}

/**
 * Starts a cluster with its slots shared evenly. Takes a little over two seconds: a master waits so long after its start
 * before it serves, whatever its configuration.
 */
export async function startCluster({ masters: masterCount = 3, replicas = 0, spares = 0, config = [] }: ClusterOptions = {}): Promise<RedisCluster> {
  const withSlots = masterCount * (1 + replicas)
  const nodes = await Promise.all(Array.from({ length: withSlots + spares }, () => startNode(config)))
  const masters = nodes.slice(0, masterCount)
  // epochs that differ from the beginning spare the nodes the time to settle that they collide
  await Promise.all(nodes.map((node, i) => node.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)))
  await Promise.all(masters.map((node, i) => node.command('CLUSTER', 'ADDSLOTS', ...slotsOf(i, masterCount))))
  for (const [i, node] of nodes.entries()) {
    for (const other of nodes.slice(i + 1)) await node.command('CLUSTER', 'MEET', '127.0.0.1', other.port)
  }
  await Promise.all(nodes.map((node) => until(`the node on port ${node.port} knows the others`, () => knows(node, nodes.length))))
  await Promise.all(nodes.slice(masterCount, withSlots).map((node, i) => follow(node, masters[i % masterCount]!)))
  const cluster = new RedisCluster(nodes)
  await cluster.healthy()
  return cluster
}

async function startNode(config: readonly string[]): Promise<ClusterNode> {
  const port = await freePort()
  const node = new ClusterNode({
    name: `redis-cluster-${port}`,
    address: { port },
    url: `redis://127.0.0.1:${port}`,
    config: [`port ${port}`, 'cluster-enabled yes', 'cluster-config-file nodes.conf', `cluster-node-timeout ${NODE_TIMEOUT_MS}`, ...commonConfig({ config })],
  })
  await node.start()
  return node
}

function slotsOf(index: number, count: number): number[] {
  const first = Math.floor((index * SLOTS) / count)
  return Array.from({ length: Math.floor(((index + 1) * SLOTS) / count) - first }, (_, i) => first + i)
}

async function knows(node: ClusterNode, count: number): Promise<boolean> {
  const lines = String(await node.command('CLUSTER', 'NODES')).trim().split('\n')
  return lines.length === count && !lines.some((line) => line.includes('handshake'))
}

async function follow(replica: ClusterNode, master: ClusterNode): Promise<void> {
  await replica.command('CLUSTER', 'REPLICATE', master.id)
  await inStep(replica)
}

async function isMaster(node: ClusterNode): Promise<boolean> {
  const [role] = (await node.command('ROLE')) as Reply[]
  return role === 'master'
}

async function seesHealth(node: ClusterNode): Promise<boolean> {
  const info = String(await node.command('CLUSTER', 'INFO'))
  return info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`)
}
