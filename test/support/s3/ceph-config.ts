import { randomBytes } from 'node:crypto'

/** Who speaks to the cluster: the monitor, the only store, the gateway. */
export const GATEWAY = 'client.rgw.thermocline'

export interface CephPlan {
  readonly directory: string
  readonly clusterId: string
  readonly monitorPort: number
  readonly gatewayPort: number
  /** How much the store takes; at the limit writes hang, as in a Ceph cluster that is full. */
  readonly storeBytes: number
  /** How long a day of a lifecycle rule lasts. */
  readonly lifecycleDaySeconds: number
}

/** `ceph.conf` of a cluster with one monitor, one store that keeps everything in memory, and one gateway, all on 127.0.0.1. */
export function cephConfig({ directory, clusterId, monitorPort, gatewayPort, storeBytes, lifecycleDaySeconds }: CephPlan): string {
  return lines(
    '[global]',
    `fsid = ${clusterId}`,
    `mon host = [v2:127.0.0.1:${monitorPort}/0]`,
    'mon initial members = a',
    'public addr = 127.0.0.1',
    'cluster addr = 127.0.0.1',
    'ms bind msgr1 = false',
    'auth cluster required = cephx', // without it the gateway and the store do not agree on a protocol
    'auth service required = cephx',
    'auth client required = cephx',
    'auth allow insecure global id reclaim = false',
    `keyring = ${directory}/keyring`,
    `log file = ${directory}/$name.log`,
    `run dir = ${directory}/run`,
    `crash dir = ${directory}/run`,
    'admin socket =',
    'pid file =',

    // one copy of everything, in as few placement groups as possible, for there is one store
    'osd pool default size = 1',
    'osd pool default min size = 1',
    'osd pool default pg num = 1',
    'osd pool default pgp num = 1',
    'osd pool default pg autoscale mode = off',
    'osd crush chooseleaf type = 0',
    'mon allow pool size one = true',
    'mon max pg per osd = 500',
    'osd objectstore = memstore',
    `memstore device bytes = ${storeBytes}`,

    // The rest makes it quick. Who came too early, or spoke to a gateway that was killed, asks again after a fraction of a second
    // instead of 3 to 30: a gateway tells others of a new bucket, and waits for those that have not gone by its book.
    'paxos propose interval = 0.05',
    'mon client hunt interval = 0.25',
    'mon client ping interval = 1',
    'objecter tick interval = 0.5',
    'osd client watch timeout = 2',
    'mon data avail warn = 2', // per cent of the disk; it keeps a few megabytes
    'mon data avail crit = 1',

    '[mon.a]',
    `mon data = ${directory}/mon`,
    '[osd.0]',
    `osd data = ${directory}/osd`,

    `[${GATEWAY}]`,
    `rgw frontends = beast endpoint=127.0.0.1:${gatewayPort} tcp_nodelay=1`, // without it small answers wait 40 ms for an acknowledgement
    `rgw data = ${directory}/run`,
    `rgw lc debug interval = ${lifecycleDaySeconds}`,
    'rgw gc obj min wait = 5', // the memory of deleted objects comes back within seconds, not hours
    'rgw gc processor period = 5',
    'rgw gc processor max time = 5',
    'rgw dynamic resharding = false',
    'rgw override bucket index max shards = 1',
    'rgw enable usage log = false',
    'rgw enable ops log = false',
    'rgw crypt require ssl = false',
    'debug rgw = 1',
  )
}

/** The keys with which the parts know each other, new for every cluster. */
export function cephKeyring(): string {
  return lines(
    '[mon.]',
    `key = ${cephKey()}`,
    'caps mon = "allow *"',
    '[osd.0]',
    `key = ${cephKey()}`,
    'caps mon = "allow profile osd"',
    'caps osd = "allow *"',
    `[${GATEWAY}]`,
    `key = ${cephKey()}`,
    'caps mon = "allow rw"',
    'caps osd = "allow rwx"',
  )
}

/** As `ceph-authtool --gen-print-key` makes it: type 1 (AES), the time of making (none), the length, and 16 random bytes. */
function cephKey(): string {
  const header = Buffer.alloc(12)
  header.writeUInt16LE(1, 0)
  header.writeUInt16LE(16, 10)
  return Buffer.concat([header, randomBytes(16)]).toString('base64')
}

function lines(...list: readonly string[]): string {
  return `${list.join('\n')}\n`
}
