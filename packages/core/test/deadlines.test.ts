import { expect, test } from '@jest/globals'
import { Deadlines, type Deadline } from '../src/layers/deadlines.js'
import { ManualClock } from './support/manual-clock.js'

class Counted implements Deadline {
  deadlineAt = 0
  before: Deadline | undefined = undefined
  after: Deadline | undefined = undefined
  isPending = false
  expired = 0

  expire(): void {
    this.expired++
  }
}

test('what is under way already is not put there twice', async () => {
  const clock = new ManualClock()
  const deadlines = new Deadlines(clock)
  const [first, second] = [new Counted(), new Counted()]
  first.deadlineAt = deadlines.after(100)
  deadlines.add(first)
  first.deadlineAt = deadlines.after(60) // an operation that was admitted in the moment in which its patience ended
  deadlines.add(first)
  expect(first.after).toBeUndefined() // it would be its own neighbour, and whoever goes through them would not come to an end
  second.deadlineAt = deadlines.after(200)
  deadlines.add(second)
  await clock.advance(60)
  expect([first.expired, second.expired]).toEqual([1, 0])
  await clock.advance(140)
  expect([first.expired, second.expired]).toEqual([1, 1])
  expect(clock.pending).toBe(0)
})
