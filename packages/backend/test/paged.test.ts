import { describe, expect, test } from '@jest/globals'
import { Paged } from '@thermocline/backend'
import { pagesOf } from '../src/contract/paged.js'

async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = []
  for await (const one of all) got.push(one)
  return got
}

/** Pages that tell what becomes of them. */
function listing(pages: readonly (readonly number[])[], told: string[] = []): Paged<number> {
  return new Paged(async function* () {
    try {
      for (const page of pages) {
        told.push(`page of ${page.length}`)
        yield page
      }
    } finally {
      told.push('closed')
    }
  })
}

describe('what comes by pages', () => {
  test('can be taken one by one, with empty pages passed over, and as pages, each time anew', async () => {
    const paged = listing([[], [1, 2], [], [3], []])
    expect(await collect(paged)).toEqual([1, 2, 3])
    expect(await collect(paged.pages())).toEqual([[], [1, 2], [], [3], []])
    expect(await collect(paged)).toEqual([1, 2, 3])
    expect(await collect(listing([]))).toEqual([])
  })

  test('asks for a page when the one before is used up, and is closed when its reader leaves', async () => {
    const told: string[] = []
    for await (const one of listing([[1, 2], [3]], told)) {
      if (one === 2) expect(told).toEqual(['page of 2'])
      if (one === 3) break
    }
    expect(told).toEqual(['page of 2', 'page of 1', 'closed'])
  })

  test('keeps the order for those who ask without waiting', async () => {
    const each = listing([[1], [2, 3]])[Symbol.asyncIterator]()
    const steps = await Promise.all(Array.from({ length: 5 }, () => each.next()))
    expect(steps.map(({ value }) => value)).toEqual([1, 2, 3, undefined, undefined])
  })

  test('tells a failure once', async () => {
    const each = new Paged<number>(async function* () {
      yield [1]
      throw new Error('no second page')
    })[Symbol.asyncIterator]()
    expect(await each.next()).toEqual({ done: false, value: 1 })
    await expect(each.next()).rejects.toThrow('no second page')
    expect(await each.next()).toEqual({ done: true, value: undefined })
  })

  test('a listing without pages is one of pages with one entry each, and closed like one', async () => {
    let isClosed = false
    async function* single(): AsyncGenerator<number> {
      try {
        yield 1
        yield 2
      } finally {
        isClosed = true
      }
    }
    expect(await collect(pagesOf(single()))).toEqual([[1], [2]])
    isClosed = false
    for await (const page of pagesOf(single())) {
      expect(page).toEqual([1])
      break
    }
    expect(isClosed).toBe(true)
  })
})
