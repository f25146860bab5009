import { durationMs, quietly, type Duration } from '@thermocline/backend'
import { didYouMean, nearMiss } from './problems/near-miss.js'
import { isMisplacedSetting } from './belongs.js'
import type { Written } from './problems/found.js'
import { formatPath, type Path } from './problems/path.js'
import type { ProblemList } from './problems/problem-list.js'
import { oneOf, unknownKey } from './problems/translate.js'
import { POLICY_SETTINGS, RESERVED_TIER_NAMES } from './schema/caching.js'
import { isRecord } from './schema/json-schema.js'

const TIER_KEYS: ReadonlySet<string> = new Set(['backend'])

type Tree = Readonly<Record<string, unknown>>

/** Where problems go, and what is known of the document. */
interface Telling {
  readonly problems: ProblemList
  readonly written: Written
}

/**
 * What no schema can say well: which names tiers may have, that policies name tiers, and that what is written later has a tier to come from.
 *
 * @returns the paths of settings that slipped in among the tiers or the policies, which are no tiers and no policies
 */
export function checkNames(caching: Tree, at: Path, telling: Telling): readonly Path[] {
  const { tiers, policies } = caching
  const names = isRecord(tiers) ? Object.keys(tiers) : []
  const misplaced: Path[] = []
  const notHere = (path: Path, what: string): void => {
    misplaced.push(path)
    const place = at.length === 0 ? 'the document itself' : `\`${formatPath(at)}\``
    telling.problems.add(path, `is a setting and no ${what}: it belongs in ${place}, beside \`tiers\``)
  }
  for (const [tier, settings] of isRecord(tiers) ? Object.entries(tiers) : []) {
    const path = [...at, 'tiers', tier]
    if (tier === '' || RESERVED_TIER_NAMES.includes(tier)) telling.problems.add(path, 'a tier may not be named like an option of policies and calls; give it another name')
    else if (/^\d+$/.test(tier)) telling.problems.add(path, 'a tier may not be named like a number, because the order of the tiers would be lost; give it another name')
    else if (isMisplacedSetting(tier, settings, TIER_KEYS)) notHere(path, 'tier')
  }
  if (!isRecord(policies)) return misplaced
  const known = new Set([...names, ...POLICY_SETTINGS])
  for (const [name, policy] of Object.entries(policies)) {
    const path = [...at, 'policies', name]
    if (isMisplacedSetting(name, policy, known)) {
      notHere(path, 'policy')
      continue
    }
    if (name === '' || name.includes('/')) telling.problems.add(path, "a policy's name may not be empty or contain `/`: it is compared with the first path segment of keys")
    if (!isRecord(policy) || !isRecord(tiers)) continue
    checkPolicy(policy, names, path, { ...telling, known })
    checkModes(policy, tiers, path, telling.problems)
    checkTimeouts(policy, path, telling.problems)
  }
  return misplaced
}

function checkPolicy(policy: Tree, tiers: readonly string[], path: Path, { problems, written, known }: Telling & { readonly known: ReadonlySet<string> }): void {
  const example = tiers[0] === undefined ? '' : `, such as \`${tiers[0]}: true\``
  const unknown = Object.keys(policy).filter((key) => !known.has(key))
  for (const key of unknown) {
    const suggestion = nearMiss(key, known)
    if (suggestion === undefined && typeof policy[key] === 'boolean' && written.belongs([...path, key]) === undefined) {
      problems.add([...path, key], `no tier has that name; the tiers are ${oneOf(tiers)}`)
    } else {
      const problem = unknownKey([...path, key], [...known], written)
      problems.add(problem.path, problem.suggestion === undefined ? problem.message : `no tier or setting has that name${didYouMean(problem.suggestion)}`, { suggestion: problem.suggestion })
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
  let isFirst = true
  let hasJournal = false
  for (const [name, tier] of Object.entries(tiers)) {
    if (policy[name] === false) continue
    const mode = modeOf(policy[name])
    const place = [...path, name, 'write']
    if (mode === 'back' && !hasJournal) problems.add(place, '`back` needs a tier above it that is written through and keeps a journal: one with `backend: local`')
    if (mode === 'demote' && isFirst) problems.add(place, '`demote` needs a tier above it whose evicted entries it takes')
    isFirst = false
    hasJournal ||= mode === 'through' && mayKeepJournal(tier)
  }
}

/** Core refuses these too, and does not know where they stand in a file. */
function checkTimeouts(policy: Tree, path: Path, problems: ProblemList): void {
  const msOf = (name: string): number | undefined => quietly(() => (policy[name] === undefined ? undefined : durationMs(policy[name] as Duration, name)), undefined)
  const soft = msOf('soft_timeout')
  const hard = msOf('hard_timeout')
  if (soft === undefined) return
  const place = [...path, 'soft_timeout']
  const hasWindow = ['stale_while_revalidate', 'stale_if_error'].some((name) => policy[name] !== undefined && msOf(name) !== 0)
  if (!hasWindow) problems.add(place, 'needs a stale value to serve: give `stale_if_error` or `stale_while_revalidate` too, or use `hard_timeout`')
  else if (hard !== undefined && soft > hard) problems.add(place, 'must not be longer than `hard_timeout`')
}

function modeOf(use: unknown): unknown {
  return isRecord(use) ? (use['write'] ?? 'through') : 'through'
}

function mayKeepJournal(tier: unknown): boolean {
  return isRecord(tier) && !WITHOUT_JOURNAL.includes(tier['backend'])
}
