import { once } from 'node:events'
import type { Server } from 'node:http'
import type { TieredCacheManager } from '@thermocline/core'

/** Connections that are kept alive would hold the server up for seconds. */
export function closeWhenIdle(server: Server): void {
  const timer = setInterval(() => server.closeIdleConnections(), 100)
  server.once('close', () => clearInterval(timer))
}

/** First the requests under way, which need the cache, then the cache. Nothing else keeps the process alive. */
export async function shutDown(server: Server, cache: TieredCacheManager): Promise<void> {
  server.close()
  closeWhenIdle(server)
  await once(server, 'close')
  const { pending, owed } = await cache.close({ deadline: '10s' })
  if (pending + owed > 0) console.warn(`left for the next start: ${pending} writes, ${owed} invalidations`)
}

/** Call it once, at the start. */
export function shutDownOnSignal(server: Server, cache: TieredCacheManager): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void shutDown(server, cache))
}
