import { describe, expect, test } from '@jest/globals'
import type { CancelTimer } from '@thermocline/backend'
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

/** A clock that tells which timers were asked for, in a process that stands still at will: its timers are late then. */
class TellingClock extends ManualClock {
  readonly asked: number[] = []
  behindMs = 0

  override monotonic = (): number => this.now() + this.behindMs

  override schedule(ms: number, callback: () => void): CancelTimer {
    this.asked.push(ms)
    return super.schedule(ms, callback)
  }
}

/** One whose timers can be told to keep no process alive. */
class LightClock extends ManualClock {
  readonly told: boolean[] = []

  override schedule(ms: number, callback: () => void): CancelTimer {
    const cancel = super.schedule(ms, callback)
    return Object.assign(() => cancel(), { keepAlive: (keeps: boolean) => void this.told.push(keeps) })
  }
}

function under<T extends ManualClock>(clock: T): { clock: T; deadlines: Deadlines; over: Record<string, number>; add: (name: string, ms: number) => Counted } {
  const deadlines = new Deadlines(clock)
  const over: Record<string, number> = {}
  const beganAt = clock.now()
  const add = (name: string, ms: number): Counted => {
    const one = new Counted()
    one.expire = () => void (over[name] = clock.now() - beganAt)
    one.deadlineAt = deadlines.after(ms)
    deadlines.add(one)
    return one
  }
  return { clock, deadlines, over, add }
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

describe('the time that counts', () => {
  test('goes on only while something is under way', async () => {
    const { clock, deadlines, add } = under(new ManualClock())
    const before = deadlines.now()
    await clock.advance(1000)
    expect(deadlines.now()).toBe(before)
    const one = add('one', 200)
    await clock.advance(20)
    expect(deadlines.now()).toBe(before + 20)
    await clock.advance(100)
    expect(deadlines.now()).toBe(before + 120)
    deadlines.remove(one)
    expect(clock.pending).toBe(0)
    await clock.advance(1000)
    expect(deadlines.now()).toBe(before + 120)
  })

  test('is that of each slice, less what its timer was late, and at least ten milliseconds of it', async () => {
    for (const [lateMs, counts] of [[0, 50], [1, 49], [30, 20], [39, 11], [45, 10], [5000, 10]] as const) {
      const { clock, deadlines, add } = under(new TellingClock())
      add('one', 1000)
      const before = deadlines.now()
      clock.behindMs += lateMs
      await clock.advance(50)
      expect([lateMs, deadlines.now() - before]).toEqual([lateMs, counts])
      await clock.advance(50)
      expect(deadlines.now() - before).toBe(counts + 50)
    }
  })

  test('of a slice that is shorter than that is the whole of it, however late its timer is', async () => {
    const { clock, deadlines, over, add } = under(new TellingClock())
    const before = deadlines.now()
    add('one', 4)
    clock.behindMs += 5000
    await clock.advance(4)
    expect(over).toEqual({ one: 4 })
    expect(deadlines.now()).toBe(before + 4)
  })

  test('does not go on within a slice when its timer is late, nor back when the clock does', async () => {
    const { clock, deadlines, add } = under(new TellingClock())
    add('one', 1000)
    const before = deadlines.now()
    clock.behindMs = 700
    expect(deadlines.now()).toBe(before + 50)
    clock.behindMs = -700
    expect(deadlines.now()).toBe(before)
    await clock.advance(50)
    expect(deadlines.now()).toBe(before)
  })

  test('is the same for everybody who has the clock', () => {
    const [clock, other] = [new ManualClock(), new ManualClock()]
    expect(Deadlines.of(clock)).toBe(Deadlines.of(clock))
    expect(Deadlines.of(clock)).not.toBe(Deadlines.of(other))
  })
})

describe('deadlines', () => {
  test('are over at their instants, in whatever order they come', async () => {
    const { clock, over, add } = under(new ManualClock())
    add('third', 170)
    await clock.advance(20)
    add('first', 10)
    add('second', 60)
    add('fourth', 170)
    await clock.advance(1000)
    expect(over).toEqual({ first: 30, second: 80, third: 170, fourth: 190 })
    expect(clock.pending).toBe(0)
  })

  test('are looked after by one timer, of fifty milliseconds at most', async () => {
    const { clock, over, add } = under(new TellingClock())
    add('one', 170)
    add('two', 1000)
    await clock.advance(1000)
    expect(clock.asked.slice(0, 5)).toEqual([50, 50, 50, 20, 50])
    expect(clock.asked.length).toBeLessThanOrEqual(21)
    expect(over).toEqual({ one: 170, two: 1000 })
  })

  test.each([['the first', 0], ['one between', 1], ['the last', 2]])('of which %s is taken away leave the others as they were', async (_which, at) => {
    const { clock, deadlines, over, add } = under(new ManualClock())
    const all = ['a', 'b', 'c'].map((name) => add(name, 100))
    const gone = all[at] as Counted
    deadlines.remove(gone)
    deadlines.remove(gone)
    expect([gone.isPending, gone.before, gone.after]).toEqual([false, undefined, undefined])
    await clock.advance(200)
    expect(Object.keys(over).sort()).toEqual(['a', 'b', 'c'].filter((_, each) => each !== at))
    deadlines.add(Object.assign(gone, { deadlineAt: deadlines.after(30) })) // it may come again
    await clock.advance(30)
    expect(Object.keys(over)).toHaveLength(3)
    expect(clock.pending).toBe(0)
  })

  test('that have moved are over when they say so then, sooner or later', async () => {
    const { clock, deadlines, over, add } = under(new ManualClock())
    const [sooner, later] = [add('sooner', 300), add('later', 100)]
    await clock.advance(60)
    sooner.deadlineAt = deadlines.after(10)
    deadlines.moved(sooner)
    later.deadlineAt = deadlines.after(200)
    deadlines.moved(later)
    await clock.advance(1000)
    expect(over).toEqual({ sooner: 70, later: 260 })
    deadlines.moved(sooner) // it is not under way any more
    expect(clock.pending).toBe(0)
  })

  test('of now are over in the next turn', async () => {
    const { clock, over, add } = under(new TellingClock())
    add('later', 500)
    add('now', 0)
    expect(clock.asked.at(-1)).toBe(0)
    await clock.advance(0)
    expect(over).toEqual({ now: 0 })
    await clock.advance(500)
    expect(over['later']).toBe(500)
  })

  test('leave a timer that keeps no process alive when there are none, and keep it when there are some again', async () => {
    const { clock, deadlines, over, add } = under(new LightClock())
    const before = deadlines.now()
    deadlines.remove(add('one', 200))
    expect([clock.told.at(-1), clock.pending]).toEqual([false, 1])
    await clock.advance(20)
    add('two', 200)
    expect([clock.told.at(-1), clock.pending, deadlines.now()]).toEqual([true, 1, before + 20])
    const { length } = clock.told
    deadlines.remove(add('three', 200)) // one of several
    expect(clock.told).toHaveLength(length)
    await clock.advance(200)
    expect(over).toEqual({ two: 220 })
    expect(clock.pending).toBe(0)
    deadlines.remove(add('four', 200))
    await clock.advance(50)
    expect(clock.pending).toBe(0) // nothing came
    add('five', 30)
    await clock.advance(30)
    expect(over['five']).toBe(300)
  })
})

describe('what is scheduled', () => {
  test('is called when so much has been counted, unless it was cancelled', async () => {
    const { clock, deadlines } = under(new ManualClock())
    const called: string[] = []
    deadlines.schedule(80, () => called.push('one'))
    const cancel = deadlines.schedule(80, () => called.push('two'))
    await clock.advance(79)
    expect(called).toEqual([])
    cancel()
    await clock.advance(1)
    expect(called).toEqual(['one'])
    expect(clock.pending).toBe(0)
  })

  test('leaves no timer when it is cancelled', () => {
    const clock = new ManualClock()
    new Deadlines(clock).schedule(80, () => undefined)()
    expect(clock.pending).toBe(0)
  })

  test('is not called either when it is cancelled in the two turns that are granted at its end', async () => {
    let cancel = (): void => undefined
    const clock = new (class extends ManualClock {
      override afterPendingIo(callback: () => void): void {
        cancel()
        super.afterPendingIo(callback)
      }
    })()
    const called: string[] = []
    cancel = new Deadlines(clock).schedule(80, () => called.push('one'))
    await clock.advance(80)
    expect(called).toEqual([])
  })
})
