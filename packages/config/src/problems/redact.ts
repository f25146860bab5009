import { isCredential } from './found.js'
import type { Path } from './path.js'

const SHORTEST = 3

/** Somebody else's message without the credentials of the settings it is about. */
export function redacted(message: string, settings: unknown): string {
  return credentialsIn(settings, []).reduce((text, credential) => text.replaceAll(credential, '…'), message)
}

/** Longest first, so that an address goes before the password in it. */
function credentialsIn(value: unknown, path: Path): readonly string[] {
  if (typeof value === 'string') return isCredential(path) && value.length >= SHORTEST ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value)
    .flatMap(([key, inside]) => credentialsIn(inside, [...path, key]))
    .sort((a, b) => b.length - a.length)
}
