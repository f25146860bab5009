import { inspect } from 'node:util'
import { isCredential } from './found.js'
import type { Path } from './path.js'

/** Shorter texts are in everything. */
const LEAST_SECRET = 3

/** Somebody else's message without the credentials of the settings it is about. */
function redacted(message: string, settings: unknown): string {
  return credentialsIn(settings, []).reduce((text, credential) => text.replaceAll(credential, '…'), message)
}

/**
 * What is wrong, in somebody else's words, for a message about settings: their credentials are left out, and so is an error that
 * has one in it, in its message or, as Node's own error of a wrong address, in a property.
 */
export function reasonFor(thrown: unknown, settings: unknown): { readonly reason: string; readonly cause: unknown } {
  const reason = redacted(thrown instanceof Error ? thrown.message : String(thrown), settings)
  const shown = inspect(thrown, { depth: 6 })
  return { reason, cause: redacted(shown, settings) === shown ? thrown : undefined }
}

/** Tells whether a text is, or contains, a credential of a document, or is a part of one: the password of an address. */
export function secretsOf(document: unknown): (text: string) => boolean {
  const credentials = credentialsIn(document, [])
  const parts = new Set(credentials.flatMap((credential) => [credential, ...credential.split(/[^\p{L}\p{N}_.+%-]+/u)]))
  return (text) => text.length >= LEAST_SECRET && (parts.has(text) || credentials.some((credential) => text.includes(credential)))
}

/** Longest first, so that an address goes before the password in it. */
function credentialsIn(document: unknown, path: Path): readonly string[] {
  const found: string[] = []
  collect(document, isCredential(path), found)
  return found.sort((a, b) => b.length - a.length)
}

function collect(value: unknown, isSecret: boolean, found: string[]): void {
  if (typeof value === 'string') {
    if (isSecret && value.length >= LEAST_SECRET) found.push(value)
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inside] of Object.entries(value)) collect(inside, isSecret || isCredential([key]), found)
  }
}
