import { expect, jest, test } from '@jest/globals'
import { systemClock } from '@thermocline/backend'
import { onEachServer, onStrictServer, scopeOf, type Shelf } from './support/shelf.js'

jest.setTimeout(60_000) // thousands of objects, also on a busy machine

/** A few at once: the emulator is one process, and who waits for it longer than six seconds takes it for silent. */
async function fill(shelf: Shelf, names: readonly string[]): Promise<void> {
  for (let at = 0; at < names.length; at += 32) await Promise.all(names.slice(at, at + 32).map((name) => shelf.put(name, 'v')))
}

onEachServer((stage) => {
  const count = stage.kind === 'emulator' ? 1100 : 2300
  test(`${count} entries are listed and cleared, a page after the other`, async () => {
    const shelf = stage.shelf()
    const keys = Array.from({ length: count }, (_, i) => `${i % 10 === 0 ? 'tenth' : 'other'}/${i}`)
    await fill(shelf, keys)
    for (const detail of ['keys', 'info'] as const) {
      const infos = await shelf.list('', detail)
      expect(infos.map(({ key }) => key).sort()).toEqual([...keys].sort())
      expect(infos.every(({ size, expiresAt }) => size === 1 && (expiresAt !== undefined) === (detail === 'info'))).toBe(true)
    }
    expect(await shelf.list('tenth/')).toHaveLength(count / 10)
    await shelf.clear('tenth/')
    expect(await shelf.list()).toHaveLength(count * 0.9)
    await shelf.clear()
    expect(await shelf.names()).toEqual([])
  }, 120_000)

  test('dots at the end of a prefix reach what is written with and without escapes', async () => {
    const shelf = stage.shelf()
    const keys = ['a/..', 'a/..b', 'a/...', 'a/.', 'a/b']
    await fill(shelf, keys)
    expect((await shelf.list('a/..')).map(({ key }) => key).sort()).toEqual(['a/..', 'a/...', 'a/..b'])
    await shelf.clear('a/..')
    expect((await shelf.list('')).map(({ key }) => key).sort()).toEqual(['a/.', 'a/b'])
  })

  test("others' objects go with clear, and other tenants' stay", async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'v')
    await shelf.put('k', 'v', { tenant: 'acme2' })
    await shelf.putPlain('theirs', 'v')
    await shelf.clear()
    expect(await shelf.names()).toEqual([shelf.nameOf('k', 'acme2')])
  })
})

onStrictServer('a listing', (stage) => {
  test('that is left early asks for no more, and gives up what is on its way', async () => {
    const shelf = stage.shelf({ maxSockets: 2 })
    await fill(shelf, Array.from({ length: 1100 }, (_, i) => `${i}`))
    const before = stage.server.requests.length
    for await (const _ of shelf.backend.list(scopeOf('acme'), '', { detail: 'keys' })) break
    expect(stage.server.requests.length - before).toBeLessThanOrEqual(2) // one may have been on its way
    expect(await shelf.text('1')).toBe('v')
  })

  test('that is aborted says so, and tells progress until then', async () => {
    const shelf = stage.shelf()
    await fill(shelf, Array.from({ length: 1100 }, (_, i) => `${i}`))
    const controller = new AbortController()
    let pages = 0
    const work = async (): Promise<void> => {
      for await (const _ of shelf.backend.list(scopeOf('acme'), '', { detail: 'keys', signal: controller.signal, progress: () => pages++ })) controller.abort(new Error('enough'))
    }
    await expect(work()).rejects.toMatchObject({ code: 'failed', cause: { message: 'enough' } })
    expect(pages).toBe(1)
    await expect(shelf.backend.clear(scopeOf('acme'), '', { signal: controller.signal })).rejects.toMatchObject({ code: 'failed' })
    expect(await shelf.list()).toHaveLength(1100)
  })

  test('asks for no prefix that is longer than names are', async () => {
    const shelf = stage.shelf()
    const long = '%'.repeat(1024)
    await shelf.put(long, 'v')
    expect((await shelf.list('%'.repeat(900))).map(({ key }) => key)).toEqual([long])
    await shelf.clear('%'.repeat(900))
    expect(await shelf.list()).toEqual([])
  })

  test('hundreds of deletions on one signal print no warning', async () => {
    const shelf = stage.shelf()
    const warnings: Error[] = []
    const heard = (warning: Error): unknown => warnings.push(warning)
    process.on('warning', heard)
    const controller = new AbortController()
    await fill(shelf, Array.from({ length: 300 }, (_, i) => `${i}`))
    await shelf.backend.clear(scopeOf('acme'), '', { signal: controller.signal })
    await shelf.backend.getMany(scopeOf('acme'), Array.from({ length: 100 }, (_, i) => `${i}` as never), { want: 'payload', touch: true, signal: controller.signal })
    await new Promise((resolve) => systemClock.schedule(20, () => resolve(undefined)))
    process.off('warning', heard)
    expect(warnings).toEqual([])
  })
})
