import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

/** Only the slow tier is asked. */
const COLD = { tiers: { warm: false } } as const

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly cold: Faults
}

/** A disk, and another directory as the slow tier that is written back to. */
function stack(basePath: string, clock?: FakeClock): Stack {
  const cold = new Faults()
  const cache = new TieredCacheManager({
    tiers: {
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }) },
      cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [cold.layer] },
    },
    policies: { default: { tiers: { cold: { write: 'back' } } } },
    logger: false,
    clock,
  })
  afterwards(async () => {
    cold.heal()
    cold.release()
    await cache.close()
  })
  return { cache, acme: cache.tenant('acme'), cold }
}

const journalIn = (basePath: string): string => path.join(basePath, 'warm', 'thermocline', 'journal')

/** What a crash leaves: a copy of the disk, in which the directories of the journal are those of processes that are gone. */
function crashed(basePath: string): string {
  const copy = path.join(temporaryDirectory(), 'copy')
  for (let attempt = 0; ; attempt++) {
    try {
      fs.cpSync(basePath, copy, { recursive: true })
      break
    } catch (error) {
      if (attempt === 20) throw error // a file went while it was copied
      fs.rmSync(copy, { recursive: true, force: true })
    }
  }
  for (const name of fs.existsSync(journalIn(copy)) ? fs.readdirSync(journalIn(copy)) : []) {
    fs.renameSync(path.join(journalIn(copy), name), path.join(journalIn(copy), `released.${name.slice(-12)}`))
  }
  return copy
}

/** Copies the disk before each change of a name in it, and with what had been answered by then. */
async function atEachStep<T>(basePath: string, answered: () => T, work: () => Promise<unknown>): Promise<{ copy: string; answered: T }[]> {
  const left: { copy: string; answered: T }[] = []
  const look = (): void => void left.push({ answered: answered(), copy: crashed(basePath) })
  const spies = [
    ...(['link', 'linkSync', 'rename'] as const).map((name) => {
      const original = fs[name] as (...args: unknown[]) => unknown
      return jest.spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
        look()
        return original.apply(fs, args)
      }))
    }),
    ...(['unlink', 'rmdir'] as const).map((name) => {
      const original = fs.promises[name] as (...args: unknown[]) => Promise<void>
      return jest.spyOn(fs.promises, name).mockImplementation(((...args: unknown[]) => {
        look()
        return original.apply(fs.promises, args)
      }))
    }),
  ]
  try {
    await work()
    look()
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return left
}

async function afterRestart(basePath: string): Promise<string> {
  const { cache, acme } = stack(basePath)
  expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
  const found = String(await acme.get('dir/k', COLD))
  await cache.close()
  return found
}

describe('a crash at any step of what replaces a pending entry', () => {
  const VERBS: Readonly<Record<string, { readonly to: string; readonly run: (acme: TenantCache) => Promise<unknown> }>> = {
    set: { to: 'new', run: (acme) => acme.set('dir/k', 'new') },
    setMany: { to: 'new', run: (acme) => acme.setMany([['dir/k', 'new'], ['dir/other', 'x']]) },
    setStream: { to: 'new', run: (acme) => acme.setStream('dir/k', [Buffer.from('new')]) },
    'set that writes through': { to: 'new', run: (acme) => acme.set('dir/k', 'new', { tiers: { cold: true } }) },
    delete: { to: 'undefined', run: (acme) => acme.delete('dir/k') },
    deleteMany: { to: 'undefined', run: (acme) => acme.deleteMany(['dir/k']) },
    clear: { to: 'undefined', run: (acme) => acme.clear('dir/') },
  }

  test.each(Object.keys(VERBS))('%s leaves the one or the other, and the newer one once it is answered', async (verb) => {
    const { to, run } = VERBS[verb]!
    const basePath = temporaryDirectory()
    const { cache, acme, cold } = stack(basePath)
    await acme.set('dir/k', 'oldest')
    await cache.flush()
    cold.inject({ fail: 'failed' }, 'put')
    await acme.set('dir/k', 'old')
    await until('its upload has failed', () => cold.calls.put > 1)
    let isAnswered = false
    const left = await atEachStep(basePath, () => isAnswered, async () => {
      if (verb.includes('through')) cold.heal()
      await run(acme)
      isAnswered = true
      cold.heal()
      await cache.flush()
    })
    expect(left.length).toBeGreaterThan(2)
    for (const { copy, answered } of left) expect(answered ? [to] : ['old', to]).toContain(await afterRestart(copy))
  }, 60_000)

  test('of two sets at once, the first answered before the second, too', async () => {
    const basePath = temporaryDirectory()
    const { acme, cold } = stack(basePath)
    cold.inject({ fail: 'failed' }, 'put')
    let answered = 'undefined'
    const left = await atEachStep(basePath, () => answered, () =>
      Promise.all(['1', '2', '3'].map((value) => acme.set('dir/k', value).then(() => (answered = value)))))
    for (const { copy, answered: last } of left) {
      const found = await afterRestart(copy)
      expect([last, Number(found) >= Number(last) || last === 'undefined']).toEqual([last, true])
    }
  }, 60_000)
})

describe('a process whose journal another has taken up while it slept', () => {
  /** What another container does that watched it being silent. */
  async function slept(): Promise<{ basePath: string; sleeper: Stack; heir: Stack; errors: string[] }> {
    const basePath = temporaryDirectory()
    const sleeper = stack(basePath)
    const errors: string[] = []
    sleeper.cache.on('error', ({ error }) => errors.push(error.message))
    sleeper.cold.inject({ fail: 'failed' }, 'put')
    await sleeper.acme.setMany(['a', 'b', 'c'].map((key) => [key, 'old'] as const))
    await until('their uploads have failed', () => sleeper.cold.calls.put >= 3)
    for (const name of fs.readdirSync(journalIn(basePath))) {
      fs.renameSync(path.join(journalIn(basePath), name), path.join(journalIn(basePath), `elsewhere.0123456789abcdef.1.7.${name.slice(-12)}`))
    }
    const clock = new FakeClock(Date.now())
    const heir = stack(basePath, clock)
    await clock.advance(31_000)
    return { basePath, sleeper, heir, errors }
  }

  test('forgets what was pending, and deletes nothing', async () => {
    const { sleeper, heir, errors } = await slept()
    expect(await heir.cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await heir.acme.get('a', COLD)).toBe('old')
    errors.length = 0
    sleeper.cold.heal()
    expect(await sleeper.cache.flush()).toEqual({ pending: 0, owed: 0 })
    for (const key of ['a', 'b', 'c']) expect(await sleeper.acme.get(key, COLD)).toBe('old')
    expect(errors).toEqual([])
    expect((await sleeper.cache.stats()).writeBack).toMatchObject({ pending: 0, uploaded: 0, removalsOwed: 0 })
  })

  test('uploads nothing over what the other has put since, and starts a directory of its own', async () => {
    const { basePath, sleeper, heir } = await slept()
    await heir.acme.set('a', 'newer')
    await heir.acme.delete('b')
    await heir.cache.flush()
    sleeper.cold.heal()
    await sleeper.acme.set('d', 'own')
    expect(await sleeper.cache.flush()).toEqual({ pending: 0, owed: 0 })
    const found = await Promise.all(['a', 'b', 'c', 'd'].map((key) => heir.acme.get(key, COLD)))
    expect(found).toEqual(['newer', undefined, 'old', 'own'])
    expect(fs.readdirSync(journalIn(basePath)).filter((name) => name.startsWith('elsewhere'))).toEqual([])
  })

  test.each(['set', 'delete'] as const)('keeps the other from uploading what a %s here has replaced', async (verb) => {
    const basePath = temporaryDirectory()
    const sleeper = stack(basePath, new FakeClock(Date.now())) // it does not notice by itself
    sleeper.cold.inject({ fail: 'failed' }, 'put')
    await sleeper.acme.set('k', 'old')
    await until('its upload has failed', () => sleeper.cold.calls.put > 0)
    for (const name of fs.readdirSync(journalIn(basePath))) {
      fs.renameSync(path.join(journalIn(basePath), name), path.join(journalIn(basePath), `elsewhere.0123456789abcdef.1.7.${name.slice(-12)}`))
    }
    const clock = new FakeClock(Date.now())
    const heir = stack(basePath, clock)
    heir.cold.inject({ fail: 'failed' }, 'put')
    await clock.advance(31_000)
    sleeper.cold.heal()
    if (verb === 'set') await sleeper.acme.set('k', 'new')
    else await sleeper.acme.delete('k')
    await sleeper.cache.flush()
    heir.cold.heal()
    await clock.advance(31_000)
    expect(await heir.cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await heir.acme.get('k', COLD)).toBe(verb === 'set' ? 'new' : undefined)
  })
})
