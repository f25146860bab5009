import type { Bench } from '../bench.js'
import type { Feature } from './check.js'

const MEBIBYTE = 1024 ** 2
/** With more, filling a store takes too long for a test. */
const MOST_ROOM = { entries: 10_000, bytes: 64 * MEBIBYTE }
const LARGEST_LIMIT = 64 * MEBIBYTE

/** Whether the backend under test has what a check needs. */
export const FEATURES: Readonly<Record<Feature, (bench: Bench) => boolean | Promise<boolean>>> = {
  streams: ({ backend }) => backend.capabilities.streams,
  reopening: ({ backend, subject }) => backend.capabilities.durable && subject.reopen !== undefined,
  'payload limit': ({ backend }) => (backend.capabilities.maxPayloadBytes ?? Number.POSITIVE_INFINITY) <= LARGEST_LIMIT,
  room: async (bench) => (await roomOf(bench)) !== undefined,
  damage: ({ subject }) => subject.damage !== undefined,
  outage: ({ subject }) => subject.fail !== undefined,
}

/** What fills the store: so many payloads of so many bytes. `undefined`: nothing that a test could do. */
export async function roomOf({ backend }: Bench): Promise<{ readonly payloads: number; readonly bytes: number } | undefined> {
  const { maxEntries, maxBytes } = await backend.stats()
  if (maxEntries !== undefined && maxEntries <= MOST_ROOM.entries) return { payloads: maxEntries, bytes: 1 }
  if (maxBytes !== undefined && maxBytes <= MOST_ROOM.bytes) return { payloads: 20, bytes: Math.floor(maxBytes / 20) }
  return undefined
}
