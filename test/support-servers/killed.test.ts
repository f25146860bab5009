import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { describeCeph } from '../support/s3/index.js'
import { serverDirectory } from '../support/servers/server-process.js'
import { until } from '../support/servers/until.js'
import { isThere } from './processes.js'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const ROOT = path.resolve(HERE, '..', '..')

describeCeph('servers whose test process is killed', () => {
  test('end as well, and leave no directories', async () => {
    const file = path.join(serverDirectory('killed'), 'servers.json')
    const jest = [path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'), '--runInBand', '--testMatch', '**/fixtures/killed.ts', '--', 'fixtures/killed']
    const child = spawn(process.execPath, ['--experimental-vm-modules', ...jest], { cwd: ROOT, stdio: 'ignore', env: { ...process.env, SERVERS_OF_FIXTURE: file } })
    const ended = once(child, 'exit')
    await until('the servers of the fixture are there', () => existsSync(file) || child.exitCode !== null, { withinMs: 60_000 })
    await until('it has been written', () => readFileSync(file, 'utf8').endsWith('}'))
    const { pids, directories } = JSON.parse(readFileSync(file, 'utf8')) as { pids: number[]; directories: string[] }
    expect([pids.every(isThere), directories.every((directory) => existsSync(directory))]).toEqual([true, true])
    child.kill('SIGKILL')
    await ended
    await until('they have ended', () => !pids.some(isThere) && !directories.some((directory) => existsSync(directory)))
  }, 90_000)
})
