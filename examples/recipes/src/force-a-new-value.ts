import type { TenantCache } from '@thermocline/core'

type Load = () => Promise<string>

/** This caller waits for the new value; others go on with the old one until it is there. */
export function reload(acme: TenantCache, key: string, load: Load): Promise<string> {
  return acme.refresh(key, load)
}

/** Nobody waits: the next caller gets the old value, where the policy has a stale window, and has it made anew. */
export async function outdate(acme: TenantCache, key: string): Promise<void> {
  await acme.expire(key)
}

/** Nobody may see the old value any more: the next caller waits. */
export async function remove(acme: TenantCache, key: string): Promise<void> {
  await acme.delete(key)
}
