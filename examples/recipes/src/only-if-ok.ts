import type { TenantCache } from '@thermocline/core'

export interface Page {
  readonly status: number
  readonly text: string
}

/** Only answers with a 2xx are kept. Everybody who waits gets this one, and the next caller asks again. */
export function pageAt(acme: TenantCache, url: string): Promise<Page> {
  return acme.getOrCompute(`pages/${url}`, async (ctx) => {
    const response = await fetch(url, { signal: ctx.signal })
    if (!response.ok) ctx.doNotCache()
    return { status: response.status, text: await response.text() }
  })
}
