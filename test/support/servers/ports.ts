import net from 'node:net'

/**
 * Below the ports that operating systems hand to clients (from 32768 on Linux, 49152 on macOS): nobody else's connection
 * takes the port of a server that is down for the moment. A cluster node also takes the port 10,000 above its own.
 */
const LOWEST = 12_000
const SLICE = 2_500
const SLICES = 4
const CLUSTER_BUS = 10_000

/** jest's workers have a slice each, so that two of them do not choose one port in the same moment. */
const start = LOWEST + ((Number(process.env.JEST_WORKER_ID ?? 1) - 1) % SLICES) * SLICE
const taken = new Set<number>()

/** A port of 127.0.0.1 that nobody listens on, nor on its cluster bus; it is not given out twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = start + Math.floor(Math.random() * SLICE)
    if (taken.has(port)) continue
    taken.add(port)
    if ((await isFree(port)) && (await isFree(port + CLUSTER_BUS))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
