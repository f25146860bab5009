import { presets } from '../presets.js'
import { isRecord } from '../schema/json-schema.js'

type Tree = Readonly<Record<string, unknown>>

/**
 * The preset with the file's own keys over it: maps are merged key by key, everything else is replaced. A tier with
 * another backend than the preset's replaces the preset's tier, because settings of one adapter mean nothing to another.
 *
 * @param preset the name; one that no preset has changes nothing and is reported by the validation
 */
export function applyPreset(own: Tree, preset: unknown): Tree {
  if (typeof preset !== 'string' || !Object.hasOwn(presets, preset)) return own
  const base: Tree = presets[preset as keyof typeof presets]
  return merge(base, own) as Tree
}

function merge(base: unknown, own: unknown): unknown {
  if (!isRecord(base) || !isRecord(own)) return own
  if (typeof own['backend'] === 'string' && own['backend'] !== base['backend']) return own
  const added = Object.entries(own).filter(([key]) => !Object.hasOwn(base, key))
  const kept = Object.entries(base).map(([key, value]) => [key, Object.hasOwn(own, key) ? merge(value, own[key]) : value] as const)
  return Object.fromEntries([...kept, ...added])
}
