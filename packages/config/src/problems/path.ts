/** Keys and indexes from the document's root. */
export type Path = readonly (string | number)[]

const PLAIN = /^[\p{L}_$][\p{L}\p{N}_$-]*$/u
const LONGEST_SHOWN = 60

/** A path as a person writes it: `caching.tiers.cold.config.lifecycle_rules[0].storage_class`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((written, part) => {
    if (typeof part === 'number') return `${written}[${part}]`
    if (!PLAIN.test(part)) return `${written}[${JSON.stringify(shownKey(part))}]`
    return written === '' ? part : `${written}.${part}`
  }, '')
}

/** A key in a message. An address that slipped into the place of a key may carry a password. */
export function shownKey(key: string): string {
  return key.includes('://') || key.length > LONGEST_SHOWN ? '…' : key
}
