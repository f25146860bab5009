import { describe, expect, test } from '@jest/globals'
import { PathsInUse } from '../src/paths-in-use.js'

describe('a name of a file', () => {
  test('is not given while the old file is looked at to be removed, and then it is', async () => {
    const paths = new PathsInUse()
    const order: string[] = []
    let end = (): void => undefined
    const removal = paths.removing('/k', async () => {
      await new Promise<void>((resolve) => (end = resolve))
      order.push('removed')
    })
    const naming = paths.naming('/k', () => Promise.resolve(void order.push('named')))
    await paths.naming('/other', () => Promise.resolve(void order.push('other')))
    end()
    await Promise.all([removal, naming])
    expect(order).toEqual(['other', 'removed', 'named'])
  })

  test('that is being given is not removed', async () => {
    const paths = new PathsInUse()
    let end = (): void => undefined
    const naming = paths.naming('/k', () => new Promise<string>((resolve) => (end = () => resolve('named'))))
    await Promise.resolve()
    expect(await paths.removing('/k', () => Promise.resolve('removed'))).toBeUndefined()
    end()
    expect(await naming).toBe('named')
    expect(await paths.removing('/k', () => Promise.resolve('removed'))).toBe('removed')
  })

  test('is free again after a failure', async () => {
    const paths = new PathsInUse()
    await expect(paths.removing('/k', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    await expect(paths.naming('/k', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await paths.removing('/k', () => Promise.resolve(1))).toBe(1)
  })
})
