import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { connectorTo, quietWire, type Wire } from './connector.js'
import type { Server, Target } from './options.js'
import { ANSWER_TIMEOUT_MS, connectorOfSentinels, type KnownMaster } from './sentinels.js'

/** How long a TCP or TLS connection may take to come about. */
export const CONNECT_TIMEOUT_MS = 2000
/** Nothing is sent that was not asked for just now: no queue, no resending, no reconnection by the client (see connection.ts). */
const NEVER_LATE = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  connectTimeout: CONNECT_TIMEOUT_MS,
  // the client waits so long for the other side to end, also where there is no connection, and keeps the process alive
  disconnectTimeout: 100,
  // INFO, which the client's own check sends, is denied to users that may do nothing dangerous
  enableReadyCheck: false,
  // version 3 of the protocol has nothing that is used here, and one more step before the first command
  protocol: 2,
  disableClientInfo: true,
} as const satisfies RedisOptions

/**
 * A client that has not begun to connect; the user's own as it is.
 *
 * @param maxPayloadBytes how large the values are that are expected
 * @param known of a group that sentinels watch: what is known of its master
 * @param wire told of all sockets
 */
export function clientOf(target: Target, maxPayloadBytes: number, known: KnownMaster, wire: Wire): Redis | Cluster {
  if (target.kind === 'client') return target.client
  const { tls } = target.server
  const to = { maxPayloadBytes, tls }
  const Connector = connectorTo(to, wire)
  switch (target.kind) {
    case 'single':
      return new Redis({ ...NEVER_LATE, ...settings(target.server), Connector, host: target.server.host, port: target.server.port })
    case 'sentinel': {
      const { name, username, password } = target.group
      const sentinels = target.group.sentinels.map(({ host, port }) => ({ host: host as string, port: port as number }))
      const ofSentinels = { ...NEVER_LATE, ...settings({ ...target.server, username, password, db: 0 }), Connector, lazyConnect: false, enableOfflineQueue: true }
      return new Redis({
        ...NEVER_LATE,
        ...settings(target.server),
        Connector: connectorOfSentinels({ name, sentinels, clientOf: (sentinel) => new Redis({ ...ofSentinels, ...sentinel }) }, known, to, wire),
        // a sentinel may not have heard of the failover yet: whether it is a master is asked of the server itself
        enableReadyCheck: true,
      })
    }
    case 'cluster': {
      const { lazyConnect, enableOfflineQueue, retryStrategy: _, ...ofNodes } = NEVER_LATE
      return new Cluster(
        target.nodes.map(({ host, port }) => ({ host, port })),
        {
          lazyConnect,
          enableOfflineQueue,
          clusterRetryStrategy: () => null,
          retryDelayOnFailover: 0,
          retryDelayOnClusterDown: 0,
          slotsRefreshTimeout: ANSWER_TIMEOUT_MS,
          // its own check goes to some node, perhaps one that has not been let in yet, and gives up then: the probe asks them all
          enableReadyCheck: false,
          slotsRefreshInterval: 0, // asked anew when something fails; a timer would keep the process alive
          redisOptions: { ...ofNodes, ...settings(target.server), Connector },
          // certificates are for names: with TLS they must not be looked up before
          ...(tls === undefined ? {} : { dnsLookup: (address: string, callback: (error: null, address: string) => void) => callback(null, address) }),
        },
      )
    }
  }
}

/** A client that connects to where one of the user's does, and sends as ours do. */
export function copyOf(client: Redis | Cluster): Redis {
  return (client as Redis).duplicate({ ...NEVER_LATE })
}

/** Clients of the sentinels of a group, for listening to them; none where there are none. */
export function sentinelClientsOf(target: Target): Redis[] {
  if (target.kind !== 'sentinel') return []
  const { sentinels, username, password } = target.group
  const Connector = connectorTo({ maxPayloadBytes: 0, tls: target.server.tls }, quietWire())
  return sentinels.map(({ host, port }) => new Redis({ ...NEVER_LATE, ...settings({ ...target.server, username, password, db: 0 }), Connector, host: host ?? 'localhost', port: port ?? 26_379 }))
}

function settings({ username, password, db, tls }: Server): Pick<RedisOptions, 'username' | 'password' | 'tls' | 'db'> {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    db,
  }
}
