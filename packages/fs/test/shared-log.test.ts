import fs, { readdirSync, readFileSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, jest, test } from '@jest/globals'
import { CacheEntry, systemClock, TenantScope, validateKey, validateTenant, type Coordination, type Lease, type PutOptions } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { Modes } from '../src/access.js'
import { Lines, LONGEST_CHANGE_MS } from '../src/coordination/lines.js'
import { SharedLog } from '../src/coordination/shared-log.js'
import { closeInBackground } from '../src/file-io.js'
import { layoutOf } from '../src/layout.js'
import { Temporaries } from '../src/temporaries.js'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { deferred } from '../../../test/support/processes.js'
import { until } from '../../../test/support/servers/until.js'

/*
 * The log over which processes of a directory agree, when one of them stands still at the worst moment, files are gone, or the disk is full.
 */

let basePath: string
let agreed: string

function begin(): void {
  basePath = temporaryDirectory()
  agreed = path.join(basePath, 'thermocline', 'agreed')
}

function openLog(maxBytes = 1024 * 1024): SharedLog {
  const layout = layoutOf(basePath)
  const log = new SharedLog({ directory: layout.agreed, root: layout.root, modes: new Modes('private'), temporaries: new Temporaries(layout), close: closeInBackground, maxBytes })
  afterwards(() => log.close())
  return log
}

const files = (): string[] => readdirSync(agreed).sort()
const numbers = (): number[] => files().map((name) => Number(name.split('.')[1])).sort((one, other) => one - other)

let said = 0
const say = (log: SharedLog): Promise<unknown> => log.append('say', `id-${++said}`, 'text')

/** The next link of a file stands still until it is let go. */
function beforeLink(): { readonly reached: Promise<unknown>; readonly goOn: () => void } {
  const [reached, gate] = [deferred<undefined>(), deferred<undefined>()]
  const real = fs.promises.link.bind(fs.promises)
  jest.spyOn(fs.promises, 'link').mockImplementationOnce(async (...args) => {
    reached.resolve(undefined)
    await gate.promise
    return real(...args)
  })
  return { reached: reached.promise, goOn: () => gate.resolve(undefined) }
}

/** All read one log, with the same messages one after the other. */
async function expectOne(...logs: SharedLog[]): Promise<void> {
  for (const log of logs) await say(log)
  await Promise.all(logs.map((log) => log.refresh()))
  const [first, ...others] = logs.map((log) => log.messagesAfter(log.before('', 0)))
  const ids = first!.map(({ id }) => id)
  expect(ids.length).toBeGreaterThanOrEqual(logs.length)
  for (const messages of others) {
    const start = messages.length < ids.length ? ids.length - messages.length : 0 // who came later has read less
    expect(messages.slice(-ids.length).map(({ id }) => id)).toEqual(ids.slice(start))
    expect(messages.at(-1)!.log).toBe(first!.at(-1)!.log)
  }
  for (const [at, message] of first!.slice(1).entries()) expect(message.previous).toBe(ids[at])
}

async function rotate(log: SharedLog): Promise<void> {
  const number = Math.max(...numbers())
  await log.append('seal', String(number))
  await until('another file follows', async () => {
    await log.refresh()
    return numbers().includes(number + 1)
  })
}

afterEach(() => {
  jest.restoreAllMocks()
})

describe('one log', () => {
  test('is begun by processes that start at once', async () => {
    for (let round = 0; round < 30; round++) {
      begin()
      const logs = Array.from({ length: 5 }, () => openLog())
      await Promise.all(logs.map((log) => say(log)))
      await expectOne(...logs)
      expect(files()).toEqual(['log.1'])
      expect(readdirSync(path.join(basePath, 'thermocline', 'tmp'))).toEqual([])
      await Promise.all(logs.map((log) => log.close()))
    }
  })

  test('stays one when a process stands still before it begins it', async () => {
    begin()
    const still = beforeLink()
    const late = openLog()
    const saying = say(late)
    await still.reached
    const [one, other] = [openLog(), openLog()]
    await expectOne(one, other)
    for (let n = 0; n < 3; n++) await rotate(one)
    still.goOn()
    await saying
    await expectOne(one, other, late)
    expect(numbers()).toEqual([3, 4])
  })

  test('allows nothing before all is gone that one before it has allowed', async () => {
    begin()
    const still = beforeLink()
    const late = openLog()
    const saying = say(late)
    await still.reached
    // another one begins it meanwhile, offers a file and is allowed to name it; then the log is removed
    const other = openLog()
    await say(other)
    const offered = path.join(basePath, 'thermocline', 'tmp', '0123456789ab-1.ba9876543210-1.offered')
    writeFileSync(offered, 'old')
    await other.remove()
    still.goOn()
    await saying
    expect(readdirSync(path.join(basePath, 'thermocline', 'tmp'))).toEqual([])
    await expectOne(late, other)
  })

  test.each(['moved away', 'kept by another name and removed'])('that was %s is begun anew', async (how) => {
    begin()
    const [one, other] = [openLog(), openLog()]
    await expectOne(one, other)
    const last = one.end!
    const elsewhere = path.join(basePath, 'elsewhere')
    if (how === 'moved away') fs.renameSync(agreed, elsewhere)
    else {
      fs.linkSync(path.join(agreed, 'log.1'), elsewhere)
      rmSync(agreed, { recursive: true })
    }
    await say(openLog())
    await one.refresh()
    expect(one.messagesAfter(last.position)).toHaveLength(1) // wherever in the one before
    await expectOne(one, other)
    expect(one.end!.log).not.toBe(last.log)
  })

  test('is not believed when somebody has removed its newest file only', async () => {
    begin()
    const [one, other] = [openLog(), openLog()]
    await expectOne(one, other)
    await rotate(one)
    await expectOne(one, other)
    const last = one.end!
    rmSync(path.join(agreed, files().at(-1)!))
    await expectOne(one, other)
    expect(one.end!.log).not.toBe(last.log)
  })

  test('is not harmed by who removes files of one before late', async () => {
    begin()
    const one = openLog()
    await expectOne(one)
    await rotate(one)
    const unlink = fs.promises.unlink.bind(fs.promises)
    const gate = deferred<undefined>()
    jest.spyOn(fs.promises, 'unlink').mockImplementation(async (file) => {
      if (String(file).includes('log.2')) await gate.promise
      return unlink(file)
    })
    const late = openLog()
    const removing = late.remove() // stands still when it has removed the first
    await until('the first is removed', () => Promise.resolve(!numbers().includes(1)))
    jest.restoreAllMocks()
    await one.remove()
    const other = openLog()
    await expectOne(other)
    await rotate(other)
    gate.resolve(undefined)
    await removing.catch(() => undefined)
    await expectOne(one, other)
  })

  test('that cannot be read to its end is told of', async () => {
    begin()
    const one = openLog()
    await say(one)
    const stat = fs.promises.stat.bind(fs.promises) as (...args: unknown[]) => Promise<fs.Stats>
    const gone = Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
    jest.spyOn(fs.promises, 'stat').mockImplementation((...args: unknown[]) => (String(args[0]).includes('log.') ? Promise.reject(gone) : stat(...args)))
    await expect(one.refresh()).rejects.toMatchObject({ code: 'failed' })
    await expect(say(one)).rejects.toMatchObject({ code: 'failed' })
    jest.restoreAllMocks()
    await expectOne(one)
  })

  test('stays one when a process stands still before it makes the next file', async () => {
    begin()
    const [late, one, other] = [openLog(), openLog(), openLog()]
    await expectOne(late, one, other)
    const still = beforeLink()
    await late.append('seal', '1')
    const saying = say(late)
    await still.reached
    for (let n = 0; n < 4; n++) await rotate(one)
    still.goOn()
    await saying
    await expectOne(one, other, late)
    expect(numbers()).toEqual([4, 5])
  })

  test.each(['nobody', 'another one'])('stays one when the next file comes after the log was removed and %s has begun it anew', async (who) => {
    begin()
    const [late, one] = [openLog(), openLog()]
    await expectOne(late, one)
    const token = await late.append('enter', 'acme\0k', 'token')
    expect(token.isGranted).toBe(true)
    const still = beforeLink()
    await late.append('seal', '1')
    const saying = say(late)
    await still.reached
    await one.refresh()
    await one.remove()
    if (who === 'another one') await say(one)
    still.goOn()
    await saying
    const another = openLog()
    await expectOne(one, late, another)
    for (const log of [one, late, another]) expect(log.lines.seen('acme\0k', 'token').isListed).toBe(false)
  })

  test('is begun anew where files of several, or not the newest two, are there', async () => {
    begin()
    const log = openLog()
    await expectOne(log)
    const first = readFileSync(path.join(agreed, 'log.1'))
    await rotate(log)
    await rotate(log)
    expect(numbers()).toEqual([2, 3])
    await log.close()
    const [, newest = ''] = files()
    const now = readFileSync(path.join(agreed, newest))
    const id = newest.slice('log.3.'.length)
    for (const [name, bytes] of [['log.9', first], [`log.5.${id}`, now], [`log.4.${id}`, Buffer.from('rubbish\n')], [`log.4.${id}`, Buffer.alloc(0)]] as const) {
      writeFileSync(path.join(agreed, name), bytes)
      await expectOne(openLog(), openLog())
      expect(files()).toEqual(['log.1'])
    }
  })

  test('goes on for who has slept while it was sealed', async () => {
    begin()
    const [one, slept] = [openLog(), openLog()]
    await expectOne(one, slept)
    const last = slept.end!
    for (let n = 0; n < 4; n++) {
      await say(one)
      await rotate(one)
    }
    await slept.refresh()
    const [next] = slept.messagesAfter(last.position)
    expect(next!.previous).not.toBe(last.id) // so it is noticed that some are missing
    await expectOne(one, slept)
  })

  test('shows no gap to who begins after it was sealed', async () => {
    begin()
    const one = openLog()
    await expectOne(one)
    await rotate(one)
    const later = openLog()
    await later.refresh()
    expect(later.end).toEqual(one.end)
    await rotate(one)
    const last = openLog()
    await last.refresh()
    expect(last.end!.id).toBe(one.end!.id)
    await say(one)
    await last.refresh()
    expect(last.messagesAfter(last.end!.position)).toEqual([])
    expect(last.end!.previous).toBe(`id-${said - 1}`)
  })

  test('that begins with more than its files are long is not sealed for that', async () => {
    begin()
    const log = openLog(64 * 1024)
    for (let n = 0; n < 600; n++) void log.append('enter', `acme\0${'k'.repeat(200)}${n}`, 'token')
    await log.refresh()
    await until('it was sealed once', async () => (await log.refresh(), Math.max(...numbers()) > 1))
    const before = files()
    for (let n = 0; n < 20; n++) await say(log)
    expect(files()).toEqual(before)
  })

  test('that is cut off or removed is begun anew, and everything is written that was to be', async () => {
    begin()
    const [one, other] = [openLog(), openLog()]
    for (let round = 0; round < 10; round++) {
      await expectOne(one, other)
      const { log } = one.end!
      const saying = Promise.all(Array.from({ length: 20 }, (_, n) => say(n % 2 === 0 ? one : other)))
      if (round % 2 === 0) truncateSync(path.join(agreed, files().at(-1)!), 20)
      else rmSync(agreed, { recursive: true, force: true, maxRetries: 20 })
      await saying
      await expectOne(one, other)
      expect(one.end!.log).not.toBe(log)
    }
  })

  test('is read by who asks, however much is written', async () => {
    begin()
    const [busy, asking] = [openLog(), openLog()]
    let isOver = false
    const writing = Promise.all(Array.from({ length: 8 }, async () => {
      while (!isOver) await say(busy)
    }))
    const together = Promise.all(Array.from({ length: 8 }, async () => {
      while (!isOver) await say(asking)
    }))
    for (let n = 0; n < 20; n++) {
      const last = busy.end?.id
      await asking.refresh()
      if (last !== undefined) expect(asking.messagesAfter('0.0').map(({ id }) => id)).toContain(last)
    }
    isOver = true
    await Promise.all([writing, together])
    await expectOne(busy, asking)
  }, 10_000)

  test('is written to its end before it is closed, and nothing stays open', async () => {
    begin()
    const [one, other] = [openLog(), openLog()]
    await expectOne(one, other)
    const saying = Array.from({ length: 50 }, () => say(one))
    await one.close()
    await Promise.all(saying)
    await other.refresh()
    expect(other.end!.id).toBe(`id-${said}`)
    await rotate(other)
    await other.remove()
    await expectOne(other)
    await other.close()
    await expect(other.refresh()).rejects.toMatchObject({ code: 'closed' })
    if (process.platform !== 'linux') return
    const open = (): string[] => readdirSync('/proc/self/fd').map((fd) => { try { return readlinkSync(`/proc/self/fd/${fd}`) } catch { return '' } }).filter((name) => name.startsWith(basePath))  
    await until('all is closed', () => Promise.resolve(open().length === 0))
  })
})

describe('lines', () => {
  let now = 0
  const make = (): Lines => new Lines(() => now)
  const wake = ['wake', 'w'] as const

  test('who has entered during a change that was never ended may not store', () => {
    const lines = make()
    lines.apply(['change', '', 'k', 'change', 'file', 'id', 'text'])
    lines.apply(['enter', '', 'k', 'token'])
    now += LONGEST_CHANGE_MS
    expect(lines.abandoned('k')).toEqual({ mark: 'change', temporary: 'file' })
    expect(lines.apply(['abandon', '', 'k', 'change'])!.message).toEqual({ id: 'id', text: 'text' })
    expect(lines.apply(['commit', '', 'k', 'token', 'other', ...wake])!.isGranted).toBe(false)
  })

  test('who leaves is still known by what was granted to it', () => {
    const lines = make()
    lines.apply(['enter', '', 'k', 'token'])
    expect(lines.apply(['commit', '', 'k', 'token', 'file', ...wake])!.isGranted).toBe(true)
    lines.apply(['leave', '', 'k', 'token', ...wake])
    expect(lines.apply(['change', '', 'k', 'change', 'other'])!.victims).toEqual(['file'])
  })

  test('a commit that is refused leaves the line, and wakes who stands behind', () => {
    const lines = make()
    for (const token of ['first', 'second']) lines.apply(['enter', '', 'k', token])
    lines.apply(['commit', '', 'k', 'second', 'file', ...wake])
    expect(lines.apply(['commit', '', 'k', 'first', 'other', ...wake])).toEqual({ isGranted: false, victims: [], message: { id: 'wake', text: 'w' } })
    expect(lines.seen('k', 'second').isFirst).toBe(true)
  })

  test('the end of a commit that was ended by somebody else empties no line', () => {
    const lines = make()
    lines.apply(['enter', '', 'k', 'token'])
    lines.apply(['commit', '', 'k', 'token', 'file', ...wake])
    lines.apply(['change', '', 'k', 'change', ''])
    lines.apply(['changed', '', 'k', 'change'])
    lines.apply(['enter', '', 'k', 'newer'])
    lines.apply(['committed', '', 'k', 'token', 'stored', ...wake])
    expect(lines.seen('k', 'newer').isFirst).toBe(true)
  })

  test('what ended processes have left is not kept for ever', () => {
    let lines = make()
    lines.apply(['enter', '', 'k', 'token'])
    for (let hour = 0; hour < 3; hour++) {
      const saved = lines.save()
      expect(saved === '[]').toBe(hour === 2)
      lines = make()
      lines.restore(saved)
      now += 31 * 60_000
    }
  })
})

describe('a directory', () => {
  const scope = new TenantScope(validateTenant('acme'))
  const key = validateKey('k')

  function open(): { backend: FileSystemBackend; coordination: Coordination } {
    const backend = new FileSystemBackend({ basePath })
    const coordination = backend.openCoordination()
    afterwards(async () => {
      await coordination.close()
      await backend[Symbol.asyncDispose]()
    })
    return { backend, coordination }
  }

  const entry = (value: string): CacheEntry => new CacheEntry(value, { codec: 'utf8', bytes: Buffer.from(value) }, { createdAt: systemClock.now(), expiresAt: systemClock.now() + 60_000 })
  const message = (): { id: string; text: string } => ({ id: `id-${++said}`, text: 'text' })

  async function put({ backend }: ReturnType<typeof open>, value: string, options: Partial<PutOptions>): Promise<boolean> {
    return backend.put(scope, key, entry(value), { onlyIfAbsent: false, keepUntil: systemClock.now() + 60_000, ...options })
  }

  async function got({ backend }: ReturnType<typeof open>): Promise<string | undefined> {
    const found = await backend.get(scope, key, { want: 'payload', touch: false })
    return found?.encoded && Buffer.from(found.encoded.bytes).toString()
  }

  async function lease(of: ReturnType<typeof open>, outcomes: string[]): Promise<Lease> {
    const token = `token-${++said}`
    await of.coordination.enter(scope, key, token, {})
    return { token, wake: message(), ended: (outcome) => outcomes.push(outcome) }
  }

  /** The next file that gets its name stands still before it does. */
  function beforeName(): { readonly reached: Promise<unknown>; readonly goOn: () => void } {
    const [reached, gate] = [deferred<undefined>(), deferred<undefined>()]
    const real = fs.rename.bind(fs)
    let isDone = false
    jest.spyOn(fs, 'rename').mockImplementation(((from: string, to: string, done: (error: NodeJS.ErrnoException | null) => void) => {
      if (isDone || !to.endsWith('.tc')) return real(from, to, done)
      isDone = true
      reached.resolve(undefined)
      void gate.promise.then(() => real(from, to, done))
    }) as typeof fs.rename)
    return { reached: reached.promise, goOn: () => gate.resolve(undefined) }
  }

  const temporaries = (): string[] => readdirSync(path.join(basePath, 'thermocline', 'tmp'))

  test.each(['leave', 'lost log', 'neither'] as const)('what was granted before a set and comes after it stores nothing: %s', async (how) => {
    begin()
    const [one, other] = [open(), open()]
    const outcomes: string[] = []
    const granted = await lease(one, outcomes)
    const still = beforeName()
    const late = put(one, 'computed', { lease: granted })
    await still.reached
    if (how === 'leave') await one.coordination.leave(scope, key, granted.token, granted.wake, {})
    if (how === 'lost log') rmSync(agreed, { recursive: true, force: true })
    expect(await put(other, 'set', { announces: message() })).toBe(true)
    still.goOn()
    expect(await late).toBe(false)
    expect(outcomes).toEqual(['lost'])
    expect(await got(other)).toBe('set')
    expect(temporaries()).toEqual([])
  })

  test('a set whose log is lost before it has its name can be tried again', async () => {
    begin()
    const [one, other] = [open(), open()]
    await one.coordination.end({})
    const still = beforeName()
    const setting = put(one, 'set', { announces: message() })
    await still.reached
    rmSync(agreed, { recursive: true, force: true })
    await other.coordination.end({})
    still.goOn()
    await expect(setting).rejects.toMatchObject({ retryable: true, concerns: 'key' })
    expect(await put(one, 'set', { announces: message() })).toBe(true)
    expect(await got(other)).toBe('set')
    expect(temporaries()).toEqual([])
  })

  test('a change is told of that was taken for abandoned after the file had its name', async () => {
    begin()
    const [one, other] = [open(), open()]
    await put(one, 'before', { announces: message() })
    const [named, gate] = [deferred<undefined>(), deferred<undefined>()]
    const real = fs.rename.bind(fs)
    jest.spyOn(fs, 'rename').mockImplementation(((from: string, to: string, done: (error: NodeJS.ErrnoException | null) => void) => {
      real(from, to, (error) => {
        if (!to.endsWith('.tc')) return done(error)
        named.resolve(undefined)
        void gate.promise.then(() => done(error))
      })
    }) as typeof fs.rename)
    const told = message()
    const setting = put(one, 'set', { announces: told })
    await named.promise
    rmSync(agreed, { recursive: true, force: true })
    const outcomes: string[] = []
    const during = await lease(other, outcomes)
    gate.resolve(undefined)
    expect(await setting).toBe(true)
    expect((await other.coordination.end({}))!.id).toBe(told.id)
    expect(await put(other, 'computed', { lease: during })).toBe(false)
    expect(await got(other)).toBe('set')
  })

  test('what is written without coordination, or has asked for nothing yet, survives a log that is begun', async () => {
    begin()
    const [plain, one] = [open(), open()]
    const still = beforeName()
    const putting = plain.backend.put(scope, key, entry('plain'), { onlyIfAbsent: false, keepUntil: systemClock.now() + 60_000 })
    await still.reached
    await one.coordination.end({})
    still.goOn()
    expect(await putting).toBe(true)
    expect(await got(one)).toBe('plain')
  })

  test('a removal that fails half-way is told of', async () => {
    begin()
    const [one, other] = [open(), open()]
    await put(one, 'set', { announces: message() })
    const before = (await other.coordination.end({}))!
    const told = message()
    jest.spyOn(fs.promises, 'unlink').mockRejectedValueOnce(Object.assign(new Error('EIO'), { code: 'EIO' }))
    await expect(one.backend.delete(scope, [key], { announces: told })).rejects.toMatchObject({ name: 'CacheError' })
    expect((await other.coordination.read(before.position, 0, {})).map(({ id }) => id)).toEqual([told.id])
  })

  test('a change whose process ended before its end is told of by others', async () => {
    begin()
    const [one, other] = [open(), open()]
    await put(one, 'before', { announces: message() })
    await other.coordination.end({})
    const log = new SharedLog({ directory: agreed, root: path.dirname(agreed), modes: new Modes('private'), temporaries: new Temporaries(layoutOf(basePath)), close: closeInBackground, maxBytes: 1e6 })
    afterwards(() => log.close())
    await log.append('change', 'acme\0k', 'change', '', 'told', 'text') // and then it is killed
    const before = (await other.coordination.end({}))!
    const now = jest.spyOn(systemClock, 'monotonic')
    await other.coordination.read(before.position, 0, {})
    now.mockImplementation(() => performance.now() + LONGEST_CHANGE_MS)
    await other.coordination.read(before.position, 0, {})
    expect((await other.coordination.read(before.position, 0, {})).map(({ id }) => id)).toEqual(['told'])
  })

  test('a change of whose end nothing can be written is noticed by others', async () => {
    begin()
    const [one, other] = [open(), open()]
    await put(one, 'before', { announces: message() })
    const before = (await other.coordination.end({}))!
    const append = fs.write.bind(fs) as (...args: unknown[]) => void
    let written = 0
    jest.spyOn(fs, 'write').mockImplementation((...args: unknown[]) => (written++ > 0 ? (args.at(-1) as (error: Error) => void)(Object.assign(new Error('EIO'), { code: 'EIO' })) : append(...args)))
    expect(await put(one, 'set', { announces: message() })).toBe(true)
    jest.restoreAllMocks()
    await other.coordination.append(message(), {})
    expect((await other.coordination.end({}))!.log).not.toBe(before.log)
    expect(await got(other)).toBe('set')
  })

  test('a commit that is refused leaves no file', async () => {
    begin()
    const one = open()
    expect(await put(one, 'computed', { lease: { token: 'never entered', wake: message(), ended: () => undefined } })).toBe(false)
    expect(temporaries()).toEqual([])
  })

  test('without hard links changes are carried out, and nothing else is stored', async () => {
    begin()
    jest.spyOn(fs.promises, 'link').mockRejectedValue(Object.assign(new Error('EPERM'), { code: 'EPERM' }))
    const one = open()
    await expect(one.coordination.end({})).rejects.toMatchObject({ code: 'misconfigured' })
    expect(await put(one, 'set', { announces: message() })).toBe(true)
    expect(await got(one)).toBe('set')
    expect(await put(one, 'computed', { lease: { token: 'none', wake: message(), ended: () => undefined } })).toBe(false)
    expect(await one.backend.delete(scope, [key], { announces: message() })).toBe(1)
    expect(await got(one)).toBeUndefined()
    expect(temporaries()).toEqual([])
  })

  test.each([0, 1, 2])('a removal on a disk that is full from its record %i on is carried out, and others find the log lost', async (from) => {
    begin()
    const [one, other] = [open(), open()]
    await put(one, 'set', { announces: message() })
    const before = (await other.coordination.end({}))!
    const [append, write] = [fs.write.bind(fs) as (...args: unknown[]) => void, fs.promises.writeFile.bind(fs.promises)]
    let written = 0
    const full = (): boolean => written++ >= from
    const error = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    const appending = jest.spyOn(fs, 'write').mockImplementation((...args: unknown[]) => (full() ? (args.at(-1) as (error: Error) => void)(error) : append(...args)))
    const drafting = jest.spyOn(fs.promises, 'writeFile').mockImplementation((...args) => (written > from ? Promise.reject(error) : write(...args)))
    expect(await one.backend.delete(scope, [key], { announces: message() })).toBe(1)
    appending.mockRestore()
    drafting.mockRestore()
    expect(await got(other)).toBeUndefined()
    const after = await other.coordination.read(before.position, 0, {})
    if (from < 2) expect((await other.coordination.append(message(), {}), (await other.coordination.end({}))!.log)).not.toBe(before.log)
    else expect(after).toHaveLength(1)
  })
})
