import fs from 'node:fs'

/** Assumed where nobody says: what macOS gives a process that has not asked for more. */
const ASSUMED = 256
const SOFT_LIMIT = /^Max open files\s+(\d+|unlimited)/m
/** The part of it that the cache may use: the rest belongs to the application's sockets and files. */
const PART = 1 / 4
/** One turn opens this many at once at most: an entry being written, and what a copy of it is read from and written to. */
const FILES_A_TURN = 3
/** The part of the cache's files that turns may open; the others are streams that wait for their readers or sources. */
const TURNS_PART = 1 / 2
const TURNS_A_THREAD = 4
const THREADS = 4
const LEAST_TURNS = 2
const MOST_TURNS = 64

/** How much of the disk's attention this process takes. */
export interface OpenLimits {
  /** Operations that are given to the disk at once. */
  readonly turns: number
  /** Files that stay open while nothing of them is read or written. */
  readonly held: number
}

/** What a process that may have so many files open allows itself. */
export function openLimits(openFiles: number, threads: number): OpenLimits {
  const share = Math.floor(openFiles * PART)
  const turns = Math.max(LEAST_TURNS, Math.min(threads * TURNS_A_THREAD, MOST_TURNS, Math.floor((share * TURNS_PART) / FILES_A_TURN)))
  return { turns, held: Math.max(1, share - turns * FILES_A_TURN) }
}

/** The process's soft limit of open files; `Infinity` where there is none. */
export function openFileLimit(): number {
  const [, soft] = SOFT_LIMIT.exec(read('/proc/self/limits')) ?? []
  if (soft !== undefined) return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
  return reported() ?? ASSUMED
}

/** How many calls the thread pool carries out at once. */
export function threadPoolSize(): number {
  const size = Number(process.env['UV_THREADPOOL_SIZE'])
  return Number.isInteger(size) && size > 0 ? size : THREADS
}

/** From the diagnostic report, which knows it on every platform but Windows. */
function reported(): number | undefined {
  try {
    const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: unknown } } } | undefined
    const soft = report?.userLimits?.open_files?.soft
    if (soft === 'unlimited') return Number.POSITIVE_INFINITY
    return typeof soft === 'number' ? soft : undefined
  } catch {
    return undefined
  }
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
