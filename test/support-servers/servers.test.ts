import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Guardian } from '../support/servers/guardian.js'
import { until } from '../support/servers/until.js'

describe('the guardian', () => {
  test('kills what it watches and removes its directory, and touches nothing else', async () => {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'thermocline-servers-'))
    const guardian = new Guardian(directory)
    const [first, second, stopped] = Array.from({ length: 3 }, () => spawn('sleep', ['60']))
    for (const child of [first, second, stopped]) guardian.watch(child!.pid!)
    stopped!.kill('SIGSTOP')
    guardian.forget(first!.pid!)
    const ended = Promise.all([second, stopped].map((child) => once(child!, 'exit')))
    await guardian.end()
    expect(await ended).toEqual([
      [null, 'SIGKILL'],
      [null, 'SIGKILL'],
    ])
    expect([first!.exitCode, first!.signalCode, existsSync(directory)]).toEqual([null, null, false])
    first!.kill('SIGKILL')
  })
})

describe('until', () => {
  test('says what it waited for, and why it was not so', async () => {
    const cause = new Error('why')
    await expect(until('it is so', () => Promise.reject(cause), { withinMs: 20 })).rejects.toMatchObject({ message: 'not within 20 ms: it is so', cause })
  })
})
