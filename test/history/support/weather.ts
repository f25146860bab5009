import { execFile } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Faults, HistoryFault } from '@thermocline/testkit'
import type { Proxy } from '../../support/proxy.js'

const run = promisify(execFile)

/** A server that can be stopped, and killed and started again. */
interface Stoppable {
  pause(): void
  resume(): void
  restart(): Promise<void>
}

/** How long requests are kept back at most. */
export const LONGEST_STALL_MS = 4500

/** What a network does, by way of the proxy. */
export function badNetwork(proxy: Proxy, on: string): HistoryFault[] {
  const pass = (): Promise<void> => proxy.pass()
  const fault = (what: string, begin: () => unknown, lastsMs?: readonly [number, number]): HistoryFault => ({ name: `${on}: ${what}`, on, begin, end: pass, lastsMs })
  return [
    fault('replies are slow', () => proxy.delay(40)),
    fault('replies are later than the budget', () => proxy.delay(450)),
    fault('the network is narrow', () => proxy.bandwidth(60_000)),
    fault('nothing arrives until later', () => proxy.blackHole()),
    fault('requests on open connections arrive later than those on new ones', () => proxy.stall(), [300, LONGEST_STALL_MS]),
    fault('connections are refused', () => proxy.refuse()),
    fault('connections are reset', () => proxy.reset(), [10, 50]),
    fault('a reply is cut', () => proxy.resetMidReply(), [50, 200]),
    fault('a reply is garbled', () => proxy.garbage('\u0007garbage\r\n'), [50, 200]),
    fault('something comes before a reply', () => proxy.garbage('+OK\r\n', 'before'), [50, 200]),
  ]
}

export function stops(server: Stoppable, on: string): HistoryFault {
  return { name: `${on}: the server is stopped`, on, begin: () => server.pause(), end: () => server.resume(), lastsMs: [100, 1200] }
}

export function dies(server: Stoppable & { kill(): Promise<void> }, on: string): HistoryFault {
  return { name: `${on}: the server is killed and started again`, on, begin: () => server.kill(), end: () => server.restart(), lastsMs: [50, 500] }
}

/** What a disk does that is a file system of its own. */
export function badDisk(disk: string, on: string): HistoryFault[] {
  const filler = path.join(disk, 'filler')
  return [
    {
      name: `${on}: the disk is full`,
      on,
      begin: () => {
        const { bavail, bsize } = statfsSync(disk)
        try {
          writeFileSync(filler, Buffer.alloc(bavail * bsize))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error // somebody has taken the last of it meanwhile
        }
      },
      end: () => rmSync(filler, { force: true }),
    },
    {
      name: `${on}: the disk is read-only`,
      on,
      begin: () => remount(disk, 'ro'),
      end: () => remount(disk, 'rw'),
    },
  ]
}

/** A disk with a file that is being written cannot become read-only: then it does not. */
async function remount(disk: string, how: 'ro' | 'rw'): Promise<void> {
  await run('mount', ['-o', `remount,${how}`, disk]).catch((error: unknown) => {
    if (how === 'rw') throw error
  })
}

/** Operations of a tier that hang, and are carried out when that is over: a disk that is frozen. */
export function freezes(faults: Faults, on: string): HistoryFault {
  return {
    name: `${on}: the disk is frozen`,
    on,
    begin: () => faults.inject('hang'),
    end: () => {
      faults.heal()
      faults.release()
    },
    lastsMs: [100, 2000],
  }
}
