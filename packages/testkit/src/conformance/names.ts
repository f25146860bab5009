import assert from 'node:assert/strict'
import { TenantScope, validateTenant } from '@thermocline/backend'
import { acme } from '../bench.js'
import { someOf, WEIRD_KEYS, WEIRD_TENANTS } from '../key-corpus.js'
import type { Check } from './check.js'

/** Keys and tenants of every kind, none of which meets another. */
export function nameChecks(check: Check, many: number): void {
  const keys = someOf(WEIRD_KEYS, many)
  check('no two weird keys meet', async (bench) => {
    for (const name of keys) assert.equal(await bench.put(name, `value of ${name}`), true, name)
    for (const name of keys) assert.equal(bench.valueOf(await bench.got(name)), `value of ${name}`)
    for (const name of keys) {
      const deleted = await bench.remove(name)
      assert.ok(deleted === 1 || deleted === undefined, name)
    }
  })
  check('no two tenants meet', async (bench) => {
    const scopes = someOf(WEIRD_TENANTS, many).map((tenant) => new TenantScope(validateTenant(tenant)))
    for (const scope of scopes) await bench.put('k', `of ${scope.tenant}`, {}, scope)
    for (const scope of scopes) assert.equal(bench.valueOf(await bench.got('k', scope)), `of ${scope.tenant}`)
    const [first, ...others] = scopes as [TenantScope, ...TenantScope[]]
    await bench.backend.clear(first, '', {})
    assert.equal(await bench.get('k', first), undefined)
    for (const scope of others) assert.deepEqual(await bench.keys('', scope), ['k'])
  })
  check('two scopes of one tenant are one tenant', async (bench) => {
    await bench.put('k', 'from one manager', {}, acme())
    assert.equal(bench.valueOf(await bench.got('k', acme())), 'from one manager')
    await bench.backend.clear(acme(), '', {})
    await bench.put('k', 'again', {}, acme())
    assert.equal(bench.valueOf(await bench.got('k')), 'again')
  })
}
