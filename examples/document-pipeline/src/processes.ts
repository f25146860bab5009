import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { CacheStats } from '@thermocline/core'

/** What a process is started with that is one of several. */
const PART = '--part'

/** Runs the program in so many processes at once, with the same arguments; resolves with what each has counted. @throws Error when one of them fails */
export function inProcesses(count: number, args: readonly string[]): Promise<CacheStats[]> {
  const main = fileURLToPath(new URL('main.js', import.meta.url))
  return Promise.all(
    Array.from({ length: count }, async () => {
      const part = fork(main, [...args, PART], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      let stats: CacheStats | undefined
      part.on('message', (message: CacheStats) => (stats = message))
      const [code] = (await once(part, 'exit')) as [number | null]
      if (code !== 0 || stats === undefined) throw new Error(`a process ended with ${code ?? 'a signal'}`)
      return stats
    }),
  )
}

/** Tells the process that has started this one what was counted. */
export function tellStats(stats: CacheStats): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(stats, undefined, undefined, (error) => (error === null ? resolve() : reject(error)))
  })
}
