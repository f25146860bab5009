import type { Redis } from 'ioredis'

/** What `INFO` says of a server, or of all servers of a cluster together. */
export type ServerInfo = {
  readonly usedMemoryBytes: number
  /** 0: no limit. */
  readonly maxMemoryBytes: number
  /** The `maxmemory-policy`; `mixed` when the servers of a cluster differ. */
  readonly evictionPolicy: string
  readonly connectedClients: number
  readonly keyspaceHits: number
  readonly keyspaceMisses: number
  readonly evictedKeys: number
  /** Hits of all reads since the server started, from 0 to 1; 0 when there were none. */
  readonly hitRate: number
}

/** Asks a server. Managed services that refuse `CONFIG` answer `INFO`; a user that may do nothing dangerous gets `NOPERM`. */
export async function serverInfo(server: Redis): Promise<ServerInfo> {
  const fields = fieldsOf(await server.info())
  const number = (field: string): number => Number(fields.get(field)) || 0
  return withHitRate({
    usedMemoryBytes: number('used_memory'),
    maxMemoryBytes: number('maxmemory'),
    evictionPolicy: fields.get('maxmemory_policy') ?? 'unknown',
    connectedClients: number('connected_clients'),
    keyspaceHits: number('keyspace_hits'),
    keyspaceMisses: number('keyspace_misses'),
    evictedKeys: number('evicted_keys'),
  })
}

/** The servers of a cluster as one. */
export function inTotal(infos: readonly ServerInfo[]): ServerInfo {
  const sum = (of: (info: ServerInfo) => number): number => infos.reduce((total, info) => total + of(info), 0)
  const policies = new Set(infos.map(({ evictionPolicy }) => evictionPolicy))
  return withHitRate({
    usedMemoryBytes: sum((info) => info.usedMemoryBytes),
    maxMemoryBytes: sum((info) => info.maxMemoryBytes),
    evictionPolicy: policies.size === 1 ? ([...policies][0] as string) : 'mixed',
    connectedClients: sum((info) => info.connectedClients),
    keyspaceHits: sum((info) => info.keyspaceHits),
    keyspaceMisses: sum((info) => info.keyspaceMisses),
    evictedKeys: sum((info) => info.evictedKeys),
  })
}

function withHitRate(info: Omit<ServerInfo, 'hitRate'>): ServerInfo {
  const { keyspaceHits, keyspaceMisses } = info
  return { ...info, hitRate: keyspaceHits === 0 ? 0 : keyspaceHits / (keyspaceHits + keyspaceMisses) }
}

function fieldsOf(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf(':')
      return at === -1 || line.startsWith('#') ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
}

/** How a server differs from what was expected; nothing when it does not. */
export function differences(info: ServerInfo, expected: { readonly maxMemory: number | undefined; readonly evictionPolicy: string | undefined }): string[] {
  const found: string[] = []
  if (expected.maxMemory !== undefined && info.maxMemoryBytes !== expected.maxMemory) {
    found.push(`maxmemory is ${info.maxMemoryBytes === 0 ? 'not limited' : `${info.maxMemoryBytes} bytes`} and ought to be ${expected.maxMemory} bytes`)
  }
  if (expected.evictionPolicy !== undefined && info.evictionPolicy !== expected.evictionPolicy) {
    found.push(`maxmemory-policy is ${info.evictionPolicy} and ought to be ${expected.evictionPolicy}`)
  }
  return found
}
