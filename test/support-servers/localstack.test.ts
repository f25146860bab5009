import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Guardian } from '../support/servers/guardian.js'
import { serverDirectory } from '../support/servers/server-process.js'
import { until } from '../support/servers/until.js'

/** There may be no Docker where this runs: a program in its place writes down how it is called, and is a server on the port that was asked for. */
const home = serverDirectory('docker')
const calls = path.join(home, 'calls')
const docker = path.join(home, 'docker')
writeFileSync(
  docker,
  `#!${process.execPath}
const { appendFileSync, readFileSync, writeFileSync } = require('node:fs')
const [, , verb, ...args] = process.argv
appendFileSync(${JSON.stringify(calls)}, [verb, ...args].join(' ') + '\\n')
const pidFile = (name) => ${JSON.stringify(home)} + '/' + name
if (verb === 'version') console.log('28.2.2')
if (verb === 'run') {
  const [, port] = args[args.indexOf('--publish') + 1].split(':')
  const server = "require('node:http').createServer((_, response) => response.end('{}')).listen(" + port + ", '127.0.0.1')"
  const child = require('node:child_process').spawn(process.execPath, ['-e', server], { detached: true, stdio: 'ignore' })
  writeFileSync(pidFile(args[args.indexOf('--name') + 1]), String(child.pid))
  child.unref()
}
if (verb === 'rm') try { process.kill(Number(readFileSync(pidFile(args[1]), 'utf8'))) } catch {}
`,
)
chmodSync(docker, 0o755)
process.env.PATH = home
delete process.env.S3_ENDPOINT
const { s3Kind, startS3 } = await import('../support/s3/index.js')

describe('LocalStack', () => {
  test('is what S3 is where a Docker engine answers; its container is on 127.0.0.1 and goes with it', async () => {
    expect(s3Kind()).toBe('localstack')
    const server = await startS3()
    expect(server).toMatchObject({ kind: 'localstack', endpoint: `http://127.0.0.1:${server.port}`, otherUser: undefined, lifecycleDayMs: undefined })
    const run = linesOf('run')[0]!
    expect(run).toMatch(new RegExp(`^run --detach --rm --name thermocline-tests-\\w+ --publish 127.0.0.1:${server.port}:4566 .*localstack/localstack:\\d+\\.\\d+\\.\\d+$`))
    const name = /--name (\S+)/.exec(run)![1]!
    await server.stop()
    expect(linesOf('rm')).toEqual([`rm --force ${name}`])
    await until('it has ended', () => fetch(server.endpoint).then(() => false, () => true))
  })

  test('is removed when the test process ends', async () => {
    const guardian = new Guardian(path.join(home, 'absent'))
    guardian.watchContainer('of-the-guardian', docker)
    await guardian.end()
    expect(linesOf('rm')).toContain('rm --force of-the-guardian')
  })
})

function linesOf(verb: string): string[] {
  return existsSync(calls) ? readFileSync(calls, 'utf8').split('\n').filter((line) => line.startsWith(`${verb} `)) : []
}
