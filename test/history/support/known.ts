/**
 * Faults that are left out, by the beginnings of their names, and why: each provokes what is known and not mended yet. All of them take
 * part with HISTORY_KNOWN=1.
 */
export const KNOWN: Readonly<Record<string, string>> = {}

export function isLeftOut(name: string): boolean {
  return process.env.HISTORY_KNOWN !== '1' && Object.keys(KNOWN).some((known) => name.startsWith(known))
}
