import type { TenantCache } from '@thermocline/core'

export interface User {
  readonly id: string
  readonly name: string
}

/** Who exists is remembered for a day, that somebody does not exist for a minute. */
export function userOf(acme: TenantCache, id: string, load: (id: string) => Promise<User | undefined>): Promise<User | undefined> {
  return acme.getOrCompute(`users/${id}`, async (ctx) => {
    const user = await load(id)
    ctx.setTtl(user === undefined ? '1m' : '1d')
    return user
  })
}
