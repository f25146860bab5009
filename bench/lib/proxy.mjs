/*
 * A network between a client and a server that can be made to swallow everything: connections are accepted, bytes go nowhere, nothing is ever
 * said. Afterwards what was held back goes on, as TCP would have it.
 */
import net from 'node:net'

export async function startProxy(port, targetPort) {
  const pairs = new Set()
  let swallows = false
  const server = net.createServer({ pauseOnConnect: true }, (client) => {
    const target = net.connect(targetPort, '127.0.0.1')
    const sockets = [client, target]
    const pair = {
      stop: () => sockets.forEach((socket) => socket.pause()),
      go: () => sockets.forEach((socket) => socket.resume()),
      end: () => sockets.forEach((socket) => socket.destroy()),
    }
    pairs.add(pair)
    for (const [from, to] of [sockets, sockets.toReversed()]) {
      from.on('data', (bytes) => to.write(bytes))
      from.on('error', pair.end)
      from.on('close', () => {
        pair.end()
        pairs.delete(pair)
      })
    }
    if (swallows) pair.stop()
    else pair.go()
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return {
    port,
    blackHole() {
      swallows = true
      for (const pair of pairs) pair.stop()
    },
    pass() {
      swallows = false
      for (const pair of pairs) pair.go()
    },
    /** What was held back is lost. */
    reset() {
      for (const pair of pairs) pair.end()
    },
    close() {
      server.close()
      for (const pair of pairs) pair.end()
    },
  }
}
