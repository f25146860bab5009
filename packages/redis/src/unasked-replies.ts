import type { Redis } from 'ioredis'

/**
 * Tells of replies that nobody waits for. The client would go on with such a connection, and a null among them makes it throw
 * where nobody can catch it (ioredis 6.0.0, `DataHandler.shiftCommand`), which ends the process.
 *
 * To be called each time the client has connected: it then has a new queue of commands.
 */
export function onUnaskedReply({ commandQueue }: Redis, tell: () => void): void {
  type Item = ReturnType<typeof commandQueue.shift>
  const shift = commandQueue.shift.bind(commandQueue)
  let isFlushed = false
  const nobody = {
    command: {
      name: '',
      resolve: tell,
      // by the client itself, which takes commands until there are no more
      reject: () => (isFlushed = true),
    },
  } as unknown as Item
  commandQueue.shift = () => {
    const item = shift()
    if (item === undefined && !isFlushed) return nobody
    isFlushed = false
    return item
  }
}
