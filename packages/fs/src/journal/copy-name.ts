import { decodeEscaped, encodeCaseFolded, type EpochMs } from '@thermocline/backend'

/** What the name of a copy tells; tenant and key are in its frame. */
export interface CopyName {
  readonly sequence: number
  /** `Infinity`: never. */
  readonly expiresAt: EpochMs
  readonly tier: string
}

/** Wide enough for every safe integer, so that names are in the order of their sequences. */
const DIGITS = 16
/** The year 2096 in millionths of a second: a clock beyond it gives no sequences. */
export const LAST_BY_CLOCK = 4e15
/** A higher one is nobody's: what follows it must be exact, and as wide. */
const LAST = 8e15
const NAME = /^(\d{16})-(never|\d+(?:\.\d+)?)-(.+)\.tc$/
const UNFINISHED = '.new'
/** What is left of a file name's 255 bytes, with room for the instant. */
const LONGEST_TIER = 180

let lastTier = ''
let lastEncoded = ''

/** A tier's name in a file's. There are few, and one is asked for many times in a row. @throws TypeError when it is too long */
export function encodeTier(tier: string): string {
  if (tier === lastTier) return lastEncoded
  const encoded = encodeCaseFolded(tier)
  if (encoded.length > LONGEST_TIER) throw new TypeError(`a tier that is written back needs a name of at most ${LONGEST_TIER} characters, escaped; ${JSON.stringify(tier.slice(0, 40))}... has ${encoded.length}`)
  lastTier = tier
  lastEncoded = encoded
  return encoded
}

/** @throws TypeError as {@link encodeTier} does */
export function copyName({ sequence, expiresAt, tier }: CopyName): string {
  return `${String(sequence).padStart(DIGITS, '0')}-${instant(expiresAt)}-${encodeTier(tier)}.tc`
}

/** An instant that no number of milliseconds can name exactly is never. */
function instant(at: EpochMs): string {
  return at > Number.MAX_SAFE_INTEGER ? 'never' : String(at)
}

/** `undefined` for what is no copy. */
export function parseCopyName(name: string): CopyName | undefined {
  const [, sequence, expiresAt, encoded] = NAME.exec(name) ?? []
  const tier = encoded === undefined ? undefined : decodeEscaped(encoded)
  if (tier === undefined || Number(sequence) > LAST) return undefined
  return { sequence: Number(sequence), expiresAt: expiresAt === 'never' ? Number.POSITIVE_INFINITY : Number(expiresAt), tier }
}

/** What a copy is called while it is written by itself, not linked. */
export function unfinishedName(name: string): string {
  return name + UNFINISHED
}

/** Whether it is what a crash left of a copy that was never acknowledged. */
export function isUnfinished(name: string): boolean {
  return name.endsWith(UNFINISHED) && parseCopyName(name.slice(0, -UNFINISHED.length)) !== undefined
}
