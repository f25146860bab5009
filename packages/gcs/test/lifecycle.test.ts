import { expect, test } from '@jest/globals'
import { Storage } from '@google-cloud/storage'
import type { LifecycleRule } from '@thermocline/gcs'
import { FakeClock } from '@thermocline/testkit'
import { until } from '../../../test/support/servers/until.js'
import { onStrictServer, type Shelf, type Stage } from './support/shelf.js'
import type { StrictGcsServer } from '../../../test/support/gcs/index.js'

const WANTED: readonly LifecycleRule[] = [{ transitionDays: 30, storageClass: 'COLDLINE' }, { expirationDays: 365 }]
const THEIRS = [
  { action: { type: 'Delete' }, condition: { age: 7, matchesPrefix: ['tmp/'] } },
  { action: { type: 'Delete' }, condition: { age: 3000 } },
  { action: { type: 'SetStorageClass', storageClass: 'ARCHIVE' }, condition: { age: 9, matchesPrefix: ['tmp/', 'tests/'], matchesStorageClass: ['STANDARD'] } },
]

/** The bucket's lifecycle, as Google's client sees it. */
function rulesOf({ server, bucket }: Stage<StrictGcsServer>): { get(): Promise<unknown[]>; set(rules: readonly object[]): Promise<void> } {
  const plain = new Storage(server.storageOptions()).bucket(bucket)
  return {
    get: async () => (await plain.getMetadata())[0].lifecycle?.rule ?? [],
    set: async (rules) => {
      await plain.setMetadata({ lifecycle: rules.length === 0 ? null : { rule: rules as never } })
    },
  }
}

onStrictServer('lifecycle', (stage) => {
  const under = (shelf: Shelf, more = ''): readonly string[] => [`${shelf.prefix}/tenants/${more}`]

  test('a difference is reported once, to all managers; nothing is changed', async () => {
    const rules = rulesOf(stage)
    await rules.set(THEIRS)
    const shelf = stage.shelf({ lifecycleRules: WANTED })
    await until('it is told', () => shelf.reports.length > 0)
    expect(shelf.codes).toEqual(['misconfigured'])
    expect(shelf.reports[0]!.message).toBe(
      `the lifecycle of bucket ${stage.bucket} is not what lifecycleRules says: missing: move to COLDLINE what begins with ${under(shelf)[0]} after 30 days; missing: remove what begins with ${under(shelf)[0]} after 365 days. Nothing was changed; applyLifecycle() would change it`,
    )
    expect(await rules.get()).toEqual(THEIRS)
    shelf.backend.attach({ clock: new FakeClock(), report: () => undefined, evicted: () => undefined, demotes: () => false })()
    expect(shelf.reports).toHaveLength(1)
  })

  test('is applied when asked for, beside the rules of others', async () => {
    const rules = rulesOf(stage)
    await rules.set(THEIRS)
    const shelf = stage.shelf({ lifecycleRules: [...WANTED, { tenant: 'acme', prefix: 'frames/', expirationDays: 1 }] })
    const applied = await shelf.backend.applyLifecycle()
    expect([applied.changed, applied.differences.length]).toEqual([true, 3])
    expect(await rules.get()).toEqual([
      ...THEIRS,
      { action: { type: 'SetStorageClass', storageClass: 'COLDLINE' }, condition: { age: 30, matchesPrefix: under(shelf) } },
      { action: { type: 'Delete' }, condition: { age: 365, matchesPrefix: under(shelf) } },
      { action: { type: 'Delete' }, condition: { age: 1, matchesPrefix: under(shelf, 'acme/frames/') } },
    ])
    expect(await shelf.backend.applyLifecycle()).toEqual({ changed: false, differences: [] })

    const others = stage.shelf({ prefix: shelf.prefix, lifecycleRules: [{ expirationDays: 30 }] })
    expect((await others.backend.applyLifecycle()).differences).toHaveLength(4)
    expect(await rules.get()).toEqual([...THEIRS, { action: { type: 'Delete' }, condition: { age: 30, matchesPrefix: under(shelf) } }])
    await stage.shelf({ prefix: shelf.prefix }).backend.applyLifecycle()
    expect(await rules.get()).toEqual(THEIRS)
  })

  test('what was applied is no difference, in whichever order', async () => {
    const first = stage.shelf({ lifecycleRules: WANTED })
    await first.backend.applyLifecycle()
    const before = stage.server.requests.length
    const shelf = stage.shelf({ prefix: first.prefix, lifecycleRules: [...WANTED].reverse() })
    await until('it was compared', () => stage.server.requests.slice(before).some(({ operation, status }) => operation === 'buckets.get' && status === 200))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(shelf.reports).toEqual([])
  })

  test('does what it says to our objects, and to no others', async () => {
    const rules = rulesOf(stage)
    await rules.set([])
    const shelf = stage.shelf({ lifecycleRules: WANTED })
    const others = stage.shelf()
    await shelf.backend.applyLifecycle()
    await shelf.put('k', 'v')
    await others.put('k', 'v')
    const inDays = (days: number): void => stage.server.runLifecycle(new Date(Date.now() + days * 86_400_000))
    inDays(31)
    expect((await shelf.object('k'))!.storageClass).toBe('COLDLINE')
    expect(await shelf.text('k')).toBe('v')
    inDays(366)
    expect(await shelf.get('k')).toBeUndefined()
    expect((await others.object('k'))!.storageClass).toBe('STANDARD')
  })

  test('a change of somebody else at the same moment is kept, and told', async () => {
    const rules = rulesOf(stage)
    await rules.set(THEIRS)
    stage.server.faults.error(412, { of: 'buckets.patch', times: 4 })
    await expect(stage.shelf({ lifecycleRules: WANTED }).backend.applyLifecycle()).rejects.toMatchObject({ code: 'failed', retryable: true, message: expect.stringContaining('somebody else') as unknown })
    const conditions = stage.server.requests.filter(({ operation, query }) => operation === 'buckets.patch' && query.has('ifMetagenerationMatch'))
    expect(conditions.length).toBeGreaterThan(0)
    expect(await rules.get()).toEqual(THEIRS)
  })

  test('what may pass is tried again: the same moment, a busy store', async () => {
    await rulesOf(stage).set(THEIRS)
    const shelf = stage.shelf({ lifecycleRules: WANTED })
    stage.server.faults.error(412, { of: 'buckets.patch' })
    stage.server.faults.error(503, { of: 'buckets.patch' })
    expect((await shelf.backend.applyLifecycle()).changed).toBe(true)
    expect(await rulesOf(stage).get()).toEqual(expect.arrayContaining([...THEIRS]))
    expect(await shelf.backend.applyLifecycle()).toEqual({ changed: false, differences: [] })
  })

  test('who may not ask is told what to grant', async () => {
    stage.server.faults.error(403, { of: 'buckets.get' })
    const shelf = stage.shelf({ lifecycleRules: WANTED })
    await until('it is told', () => shelf.reports.length > 0)
    expect(shelf.reports[0]).toMatchObject({ code: 'misconfigured', message: expect.stringContaining('grant storage.buckets.get') as unknown })
    stage.server.faults.error(403, { of: 'buckets.get' })
    await expect(shelf.backend.applyLifecycle()).rejects.toMatchObject({ code: 'access-denied' })
  })

  test('a bucket that cannot be asked is asked again after a minute, until the backend is closed', async () => {
    const clock = new FakeClock()
    const asked = (): number => stage.server.requests.filter(({ operation }) => operation === 'buckets.get').length
    const before = asked()
    stage.server.faults.error(503, { of: 'buckets.get', times: 2 })
    const shelf = stage.shelf({ lifecycleRules: WANTED }, clock)
    await clock.advance(1)
    await until('it was asked', () => asked() === before + 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    await clock.advance(60_000)
    await until('it was asked again', () => asked() === before + 2)
    await new Promise((resolve) => setTimeout(resolve, 30))
    await shelf.close()
    await clock.advance(120_000)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect([asked(), shelf.reports]).toEqual([before + 2, []])
  })
})
