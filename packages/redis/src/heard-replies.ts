import type { Redis } from 'ioredis'

/** What a server says of itself, and that it has done what it was asked. */
const OF_ONE_LINE = /^[+\-:][^\r\n]*\r\n/
/** A subscription that is confirmed, or a message. */
const HEARD = /^\*3\r\n\$\d+\r\n[^\r\n]*\r\n\$\d+\r\n[^\r\n]*\r\n(?::\d+|\$\d+\r\n[^\r\n]*)\r\n/
const HEARD_LINES = 7
const LONGEST = 64 * 1024

/**
 * Lets a client that only listens have nothing but what it can read; a connection that says anything else is ended. Others than these replies make it throw
 * where nobody can catch it (ioredis 6.0.0, `DataHandler.handleSubscriberReply`), which ends the process.
 *
 * To be called each time the client has connected.
 */
export function onlyWhatIsHeard({ stream }: Redis): void {
  const readers = stream.listeners('data') as ((bytes: Buffer) => void)[]
  let kept = ''
  stream.removeAllListeners('data')
  stream.on('data', (bytes: Buffer) => {
    kept += bytes.toString('latin1')
    for (let reply = next(kept); reply !== undefined; reply = next(kept)) {
      kept = kept.slice(reply.length)
      for (const read of readers) read(Buffer.from(reply, 'latin1'))
    }
    if (kept.length > LONGEST || isStrange(kept)) stream.destroy()
  })
}

function next(text: string): string | undefined {
  return (OF_ONE_LINE.exec(text) ?? HEARD.exec(text))?.[0]
}

/** Whether it cannot become a reply that is expected. */
function isStrange(text: string): boolean {
  if (text === '') return false
  const lines = text.split('\r\n')
  return !/^[+\-:*]/.test(text) || (text.startsWith('*') && lines.length > 1 && (lines[0] !== '*3' || lines.length > HEARD_LINES))
}
