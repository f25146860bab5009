import { describe, expect, test } from '@jest/globals'
import { CacheError } from '@thermocline/backend'
import { checkHistory, excerptOf, type HistoryRule } from '@thermocline/testkit'
import { Story } from './support/story.js'

function rulesBroken(write: (story: Story) => unknown, managers: 'one' | 'several' = 'one', maxTtlMs?: number): HistoryRule[] {
  const story = new Story()
  write(story)
  return checkHistory(story.history, { managers, maxTtlMs }).map(({ rule }) => rule)
}

function isLegal(name: string, write: (story: Story) => unknown): void {
  test(name, () => expect(rulesBroken(write)).toEqual([]))
}

function breaks(rule: HistoryRule, name: string, write: (story: Story) => unknown): void {
  test(name, () => expect(rulesBroken(write)).toEqual([rule]))
}

describe('legal with one manager', () => {
  isLegal('nothing', () => undefined)
  isLegal('the value of the last set', (story) => story.read(story.set()))
  isLegal('a miss of what was set', (story) => [story.set(), story.miss()])
  isLegal('of two sets at once, either, and one after the other', (story) => {
    const [first, second] = [story.beginSet(), story.beginSet()]
    story.end(second)
    story.end(first)
    story.read(second)
    story.read(second)
  })
  isLegal('the value of a set that has not ended', (story) => story.read(story.end(story.beginSet())))
  isLegal('a read that began before the delete had ended', (story) => {
    const old = story.set()
    const read = story.beginRead()
    story.delete()
    story.returned(read, old)
  })
  isLegal('a value that was set while the delete was under way', (story) => {
    const removal = story.beginDelete()
    const value = story.set()
    story.end(removal)
    story.read(value)
  })
  isLegal('the value of a set that was rejected', (story) => story.read(story.rejected(story.beginSet(), new CacheError('not-recorded', 'no room', { operation: 'set' }))))
  isLegal('an old value after a delete that was rejected', (story) => {
    const old = story.set()
    story.rejected(story.beginDelete(), new CacheError('not-recorded', 'no room', { operation: 'delete' }))
    story.read(old)
  })
  isLegal('a streamed set whose source ended after the delete was called', (story) => {
    const write = story.beginSet({ verb: 'setStream' })
    story.delete()
    story.history.sourceEnded(write)
    story.end(write)
    story.read(write)
  })
  isLegal('an old value while a streamed set waits for its source', (story) => {
    const old = story.set()
    const write = story.beginSet({ verb: 'setStream' })
    story.read(old)
    story.history.sourceEnded(write)
    story.end(write)
  })
  isLegal('a value whose compute began after the delete', (story) => [story.delete(), story.read(story.computed())])
  isLegal('a clear of other keys, or of another tenant', (story) => {
    const value = story.set()
    story.clear('other/')
    story.clear('', { tenant: 'globex' })
    story.read(value)
  })
  isLegal('two computes at once, with a delete between the first one’s beginning and the second', (story) => {
    const first = story.beginCompute(story.beginRead({ verb: 'getOrCompute' }))
    story.delete()
    story.end(story.beginCompute(story.beginRead({ verb: 'getOrCompute' })))
    story.end(first)
    for (const record of story.history.records) if (record.kind === 'read') story.end(record)
  })
  isLegal('two computes at once, after a delete whose caller has left it to itself', (story) => {
    const removal = story.rejected(story.beginDelete())
    removal.isOwnDoing = true
    const reads = [story.beginRead({ verb: 'getOrCompute' }), story.beginRead({ verb: 'getOrCompute' })]
    const computes = reads.map((read) => story.beginCompute(read))
    for (const record of [...computes, ...reads]) story.end(record)
  })
  isLegal('two computes at once in two managers', (story) => {
    const reads = [story.beginRead({ verb: 'getOrCompute', manager: 0 }), story.beginRead({ verb: 'getOrCompute', manager: 1 })]
    const computes = reads.map((read) => story.beginCompute(read))
    for (const record of [...computes, ...reads]) story.end(record)
  })
  isLegal('a compute that is shared after the life of what it stored', (story) => {
    const [starter, other] = [story.beginRead({ verb: 'getOrCompute' }), story.beginRead({ verb: 'getOrCompute' })]
    const value = story.end(story.beginCompute(starter, { ttlMs: 0 }))
    story.returned(other, value)
    story.returned(starter, value)
  })
  isLegal('a value computed since a delete, by a call that began before it', (story) => {
    const starter = story.beginRead({ verb: 'getOrCompute' })
    story.delete()
    const computed = story.beginCompute(starter)
    story.returned(starter, story.end(computed))
    story.read(computed)
  })
  isLegal('has and list of what may be there', (story) => [story.set(), story.present('has'), story.present('list')])
})

describe('broken with one manager', () => {
  breaks('stale', 'an overwritten value', (story) => {
    const old = story.set()
    story.set()
    story.read(old)
  })
  breaks('stale', 'a deleted value', (story) => {
    const old = story.set()
    story.delete()
    story.read(old)
  })
  breaks('stale', 'a cleared value', (story) => {
    const old = story.set({ key: 'docs/a' })
    story.clear('docs/')
    story.read(old, { key: 'docs/a' })
  })
  breaks('stale', 'a value computed since before a delete, by a call that began later', (story) => {
    const starter = story.beginRead({ verb: 'getOrCompute' })
    const computed = story.beginCompute(starter)
    story.delete()
    story.returned(starter, story.end(computed))
    story.read(computed)
  })
  breaks('stale', 'what a set that was rejected brings after a later delete', (story) => {
    const write = story.rejected(story.beginSet(), new CacheError('not-recorded', 'no room', { operation: 'set' }))
    story.delete()
    story.read(write)
  })
  breaks('stale', 'what a set that was called before a delete brings, although it ended later', (story) => {
    const write = story.beginSet()
    story.delete()
    story.end(write)
    story.read(write)
  })
  breaks('stale', 'an old value after a streamed set', (story) => {
    const old = story.set()
    const write = story.beginSet({ verb: 'setStream' })
    story.history.sourceEnded(write)
    story.end(write)
    story.read(old)
  })
  breaks('stale', 'has of what was deleted', (story) => [story.set(), story.delete(), story.present('has')])
  breaks('stale', 'list of what was deleted', (story) => [story.set(), story.delete(), story.present('list')])
  breaks('twice', 'two computes at once', (story) => {
    const [first, second] = [story.beginRead({ verb: 'getOrCompute' }), story.beginRead({ verb: 'getOrComputeStream' })]
    const computes = [story.beginCompute(first), story.beginCompute(second)]
    for (const record of [...computes, first, second]) story.end(record)
  })
  breaks('twice', 'two computes at once, and a delete before both', (story) => {
    story.delete()
    const [first, second] = [story.beginRead({ verb: 'getOrCompute' }), story.beginRead({ verb: 'getOrCompute' })]
    const computes = [story.beginCompute(first), story.beginCompute(second)]
    for (const record of [...computes, first, second]) story.end(record)
  })
  breaks('rejected', 'a read that rejects', (story) => story.rejected(story.beginRead(), new CacheError('timeout', 'late', { operation: 'get' })))
  breaks('rejected', 'a set that rejects with something else than not-recorded', (story) => story.rejected(story.beginSet(), new CacheError('unavailable', 'away', { operation: 'set' })))
  breaks('unanswered', 'a call without an end', (story) => story.beginDelete())
})

describe('broken whatever the number of managers', () => {
  for (const managers of ['one', 'several'] as const) {
    const broken = (rule: HistoryRule, name: string, write: (story: Story) => unknown): void => test(`${managers}: ${name}`, () => expect(rulesBroken(write, managers)).toEqual([rule]))
    const answered = (rule: 'foreign' | 'corrupt') => (story: Story): void => {
      const read = story.beginRead()
      read.answer = { is: 'wrong', rule, what: 'something' }
      story.end(read)
    }
    broken('foreign', 'a value of somebody else', answered('foreign'))
    broken('corrupt', 'a damaged value', answered('corrupt'))
    broken('invented', 'a value nobody made', (story) => story.read({ version: 'v99' }))
    broken('invented', 'a value that was made after the read', (story) => {
      const read = story.read({ version: 'v1' })
      story.set()
      return read
    })
    broken('invented', 'a value whose source had failed', (story) => {
      const write = story.beginSet({ verb: 'setStream' })
      write.isBroken = write.isOwnDoing = true
      story.rejected(write)
      story.read(write)
    })
    broken('changed', 'text that comes back as bytes', (story) => story.returned(story.beginRead(), story.set({ form: 'text' }), { form: 'bytes' }))
    broken('prolonged', 'a later end of life', (story) => {
      const write = story.set({ ttlMs: 5000 })
      story.returned(story.beginRead({ verb: 'lookup' }), write, { expiresAt: story.clock.now() + 5001 })
    })
    broken('expired', 'a value that is kept for no time', (story) => story.read(story.set({ ttlMs: 0 })))
    test(`${managers}: a value whose life was over`, async () => {
      const story = new Story()
      const write = story.set({ ttlMs: 300 })
      await story.clock.advance(299)
      story.read(write)
      expect(checkHistory(story.history, { managers })).toEqual([])
      await story.clock.advance(1)
      story.read(write)
      expect(checkHistory(story.history, { managers })).toMatchObject([{ rule: 'expired' }])
    })
  }
})

describe('several managers', () => {
  const shared = { asksOwnTiers: false }
  const removedAlone = (story: Story): ReturnType<Story['set']> => {
    const old = story.set({ manager: 1 })
    story.history.settled()
    story.delete({ manager: 0 })
    story.history.settled()
    return old
  }

  test('an old value is right while others may have it', () => {
    expect(rulesBroken((story) => {
      const old = story.set({ manager: 1 })
      story.delete({ manager: 0 })
      story.read(old, { manager: 1, ...shared }) // what it owes is not known to others
    }, 'several')).toEqual([])
  })

  test('after an invalidation alone it is wrong in a shared tier, and for the manager that invalidated', () => {
    expect(rulesBroken((story) => story.read(removedAlone(story), { manager: 1, ...shared }), 'several')).toEqual(['undead'])
    expect(rulesBroken((story) => story.read(removedAlone(story), { manager: 0 }), 'several')).toEqual(['undead'])
  })

  test('in a tier of its own another manager may have it for its maxTtl, and not longer', async () => {
    const story = new Story()
    const old = removedAlone(story)
    await story.clock.advance(1000)
    story.read(old, { manager: 1 })
    expect(checkHistory(story.history, { managers: 'several', maxTtlMs: 1000 })).toEqual([])
    await story.clock.advance(100)
    story.read(old, { manager: 1 })
    expect(checkHistory(story.history, { managers: 'several', maxTtlMs: 1000 })).toMatchObject([{ rule: 'undead' }])
  })

  test('an invalidation that another call overlaps proves nothing', () => {
    expect(rulesBroken((story) => {
      const old = story.set({ manager: 1 })
      story.history.settled()
      const read = story.beginRead({ manager: 1 })
      story.delete({ manager: 0 })
      story.returned(read, old)
      story.history.settled()
      story.read(old, { manager: 1, ...shared })
    }, 'several')).toEqual([])
  })
})

test('an excerpt shows what matters, and the faults meanwhile', () => {
  const story = new Story()
  const old = story.set()
  story.set({ key: 'other' })
  const fault = story.history.fault('redis stands still')
  const removal = story.delete()
  story.history.ended(fault)
  story.set({ tenant: 'globex' })
  const read = story.read(old)
  const [violation] = checkHistory(story.history, { managers: 'one' })
  const text = excerptOf(story.history, violation!)
  expect(violation?.records).toEqual([old, removal, read])
  expect(text).toContain('stale: get returned v1')
  expect(text).toContain('redis stands still')
  expect(text.split('\n').filter((line) => line.startsWith('  > '))).toHaveLength(3)
  expect(text).not.toContain('v2')
  expect(text).not.toContain('v3')
})
