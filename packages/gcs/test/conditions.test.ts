import { expect, test } from '@jest/globals'
import { HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { onStrictServer } from './support/shelf.js'

onStrictServer('onlyIfAbsent', (stage) => {
  test('leaves what is there, also what others put there', async () => {
    const shelf = stage.shelf()
    await shelf.put('ours', 'old')
    await shelf.putPlain('theirs', 'old')
    for (const key of ['ours', 'theirs']) {
      expect(await shelf.put(key, 'new', { onlyIfAbsent: true })).toBe(false)
      const source = streamOf([Buffer.from('new')])
      expect(await shelf.put(key, source, { onlyIfAbsent: true })).toBe(false)
      expect([source.isReleased, source.taken]).toEqual([true, 0])
      expect((await shelf.object(key))!.body.toString()).toBe('old')
    }
    expect(shelf.reports).toEqual([])
  })

  test.each([['bytes', (): string => 'new'], ['a stream', () => streamOf([Buffer.from('new')])], ['a large stream', () => streamOf([patterned(9 * 1024 ** 2)])]])('replaces what is over or damaged, with %s', async (_, make) => {
    const shelf = stage.shelf()
    await shelf.put('over', 'old', { keepMs: 30 })
    await shelf.put('damaged', 'old')
    await shelf.putPlain('damaged', 'olde', { metadata: (await shelf.object('damaged'))!.own })
    await new Promise((resolve) => setTimeout(resolve, 40))
    for (const key of ['over', 'damaged']) {
      expect(await shelf.put(key, make(), { onlyIfAbsent: true })).toBe(true)
      expect((await shelf.object(key))!.body.toString('latin1', 0, 3)).not.toBe('old')
    }
  })

  test('has one winner where something is over', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'old', { keepMs: 20 })
    await new Promise((resolve) => setTimeout(resolve, 30))
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => shelf.put('k', `value ${i}`, { onlyIfAbsent: true })))
    expect(outcomes.filter(Boolean)).toHaveLength(1)
    expect(await shelf.text('k')).toBe(`value ${outcomes.indexOf(true)}`)
  })

  test.each([1000, 9 * 1024 ** 2])('loses to what is written while a stream of %d bytes is on its way', async (size) => {
    const shelf = stage.shelf()
    const source = new HandFedStream()
    const putting = shelf.put('k', source, { onlyIfAbsent: true })
    await source.give(patterned(size))
    await shelf.put('k', 'quicker')
    source.end()
    expect(await putting).toBe(false)
    expect(await shelf.text('k')).toBe('quicker')
    expect(stage.server.openUploads).toBe(0)
  })

  test('tries again where an object vanishes between refusal and look', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'old')
    stage.server.faults.error(404, { of: 'objects.get' })
    stage.server.faults.error(412, { of: 'objects.insert' })
    await shelf.delete('k')
    expect(await shelf.put('k', 'new', { onlyIfAbsent: true })).toBe(true)
  })
})

onStrictServer('removing what is damaged', (stage) => {
  test('spares what has taken its place meanwhile', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', patterned(100_000))
    await shelf.putPlain('k', patterned(100_000, 1), { metadata: (await shelf.object('k'))!.own })
    const chunks = (await shelf.stream('k')).chunks()[Symbol.asyncIterator]()
    await chunks.next()
    await shelf.put('k', 'sound')
    await expect((async () => {
      while ((await chunks.next()).done !== true);
    })()).rejects.toMatchObject({ code: 'corrupt' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(stage.server.requests.filter(({ operation }) => operation === 'objects.delete').map(({ status }) => status)).toEqual([412])
    expect(await shelf.text('k')).toBe('sound')
  })
})
