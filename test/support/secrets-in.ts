const ENOUGH = 200_000

/**
 * Where a secret stands in what was handed out: in every own property, enumerable or not, also behind symbols, of objects, maps and sets, and in text.
 *
 * @returns the paths; empty where there is none
 */
export function secretsIn(given: unknown, secrets: readonly string[]): string[] {
  const found: string[] = []
  const seen = new Set<unknown>()
  const waiting: { readonly value: unknown; readonly path: string }[] = [{ value: given, path: '' }]
  for (let next = waiting.pop(); next !== undefined && seen.size < ENOUGH; next = waiting.pop()) {
    const { value, path } = next
    if (typeof value === 'string' || Buffer.isBuffer(value)) {
      if (secrets.some((secret) => String(value).includes(secret))) found.push(path)
      continue
    }
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue
    seen.add(value)
    if (value instanceof Map || value instanceof Set) waiting.push({ value: [...value], path: `${path}()` })
    for (const key of Reflect.ownKeys(value)) {
      const name = `${path}.${String(key)}`
      if (secrets.some((secret) => name.includes(secret))) found.push(name)
      try {
        waiting.push({ value: Reflect.get(value, key) as unknown, path: name })
      } catch {
        // a getter of another object's
      }
    }
  }
  return found
}
