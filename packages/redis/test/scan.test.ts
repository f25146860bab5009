import net from 'node:net'
import { expect, test } from '@jest/globals'
import { afterwards } from '../../../test/support/afterwards.js'
import { Shelf } from './support/shelf.js'

/** A server whose scans go on like that. */
async function scanningPort(cursorAfter: (cursor: number) => number): Promise<number> {
  const server = net.createServer({ noDelay: true }, (client) => {
    client.on('error', () => undefined)
    client.on('data', (bytes) => {
      for (const [, name, first] of bytes.toString('latin1').matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n\$\d+\r\n([^\r]*)/g)) {
        const next = String(cursorAfter(Number(first)))
        if (name?.toLowerCase() === 'scan') client.write(`*2\r\n$${next.length}\r\n${next}\r\n*0\r\n`)
        else if (name?.toLowerCase() === 'ping') client.write(`$${first?.length}\r\n${first}\r\n`)
        else client.write('-ERR no\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  afterwards(() => server.close())
  return (server.address() as net.AddressInfo).port
}

test.each([
  ['stands still', () => 7],
  ['goes around', (cursor: number) => (cursor % 100) + 1],
  ['goes around after a while', (cursor: number) => (cursor < 300 ? cursor + 1 : 100)],
])('a scan whose cursor %s ends with an error', async (_, cursorAfter) => {
  const port = await scanningPort(cursorAfter)
  for (const verb of [(shelf: Shelf) => shelf.clear(), (shelf: Shelf) => shelf.list()]) {
    const shelf = new Shelf({ host: '127.0.0.1', port })
    await expect(verb(shelf)).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('a scan that does not end') })
    await shelf.close()
  }
}, 30_000)
