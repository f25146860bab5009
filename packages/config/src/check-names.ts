import { didYouMean, nearMiss } from './problems/near-miss.js'
import type { Path } from './problems/path.js'
import type { ProblemList } from './problems/problem-list.js'
import { oneOf, unknownKey } from './problems/translate.js'
import { POLICY_SETTINGS, RESERVED_TIER_NAMES } from './schema/caching.js'
import { isRecord } from './schema/json-schema.js'

type Tree = Readonly<Record<string, unknown>>

/** What no schema can say well: which names tiers may have, that policies name tiers, and that what is written later has a tier to come from. */
export function checkNames(caching: Tree, at: Path, problems: ProblemList): void {
  const { tiers, policies } = caching
  const names = isRecord(tiers) ? Object.keys(tiers) : []
  for (const tier of names) {
    const path = [...at, 'tiers', tier]
    if (tier === '' || RESERVED_TIER_NAMES.includes(tier)) problems.add(path, 'a tier may not be named like an option of policies and calls; give it another name')
    else if (/^\d+$/.test(tier)) problems.add(path, 'a tier may not be named like a number, because the order of the tiers would be lost; give it another name')
  }
  if (!isRecord(policies)) return
  for (const [name, policy] of Object.entries(policies)) {
    const path = [...at, 'policies', name]
    if (name === '' || name.includes('/')) problems.add(path, "a policy's name may not be empty or contain `/`: it is compared with the first path segment of keys")
    if (!isRecord(policy)) continue
    checkPolicy(policy, names, path, problems)
    if (isRecord(tiers)) checkModes(policy, tiers, path, problems)
  }
}

function checkPolicy(policy: Tree, tiers: readonly string[], path: Path, problems: ProblemList): void {
  const example = tiers[0] === undefined ? '' : `, such as \`${tiers[0]}: true\``
  const known = [...tiers, ...POLICY_SETTINGS]
  const unknown = Object.keys(policy).filter((key) => !known.includes(key))
  for (const key of unknown) {
    const suggestion = nearMiss(key, known)
    if (suggestion === undefined && typeof policy[key] === 'boolean') {
      problems.add([...path, key], `no tier has that name; the tiers are ${oneOf(tiers)}`)
    } else {
      const problem = unknownKey([...path, key], known)
      problems.add(problem.path, suggestion === undefined ? problem.message : `no tier or setting has that name${didYouMean(suggestion)}`, { suggestion })
    }
  }
  if (unknown.length > 0 || tiers.length === 0) return
  if (!tiers.some((tier) => Object.hasOwn(policy, tier))) problems.add(path, `names no tier: name at least one${example}`)
  else if (tiers.every((tier) => policy[tier] === false)) problems.add(path, `uses no tier: every tier is false; set at least one to true${example}`)
}

/** Built-in backends that keep no journal of what is to be written back; what others do is known when the cache is made. */
const WITHOUT_JOURNAL: readonly unknown[] = ['memory', 'redis', 's3', 'gcs']

/** Core refuses these too, and does not know where they stand in a file. */
function checkModes(policy: Tree, tiers: Tree, path: Path, problems: ProblemList): void {
  const used = Object.entries(tiers).filter(([name]) => policy[name] !== false)
  used.forEach(([name], position) => {
    const above = used.slice(0, position)
    const mode = modeOf(policy[name])
    const place = [...path, name, 'write']
    if (mode === 'back' && !above.some(([other, tier]) => modeOf(policy[other]) === 'through' && mayKeepJournal(tier))) {
      problems.add(place, '`back` needs a tier above it that is written through and keeps a journal: one with `backend: local`')
    }
    if (mode === 'demote' && above.length === 0) problems.add(place, '`demote` needs a tier above it whose evicted entries it takes')
  })
}

function modeOf(use: unknown): unknown {
  return isRecord(use) ? (use['write'] ?? 'through') : 'through'
}

function mayKeepJournal(tier: unknown): boolean {
  return isRecord(tier) && !WITHOUT_JOURNAL.includes(tier['backend'])
}
