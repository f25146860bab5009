import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe } from '@jest/globals'
import { FileSystemBackend } from '@thermocline/fs'
import { describeCoordination, type CoordinationSubject } from '@thermocline/testkit'
import { decodeRecord, encodeRecord, type LogRecord } from '../src/coordination/records.js'
import { describeProcesses } from '../../../test/support/processes.js'
import { temporaryDirectory } from '../../../test/support/afterwards.js'

/** Two backends on one directory, as two processes have them. */
function subject(): CoordinationSubject {
  const basePath = temporaryDirectory()
  const agreed = path.join(basePath, 'thermocline', 'agreed')
  return {
    one: new FileSystemBackend({ basePath }),
    other: new FileSystemBackend({ basePath }),
    forget: async () => rmSync(agreed, { recursive: true, force: true }),
    trim: async (left) => {
      // as who has slept while the file was sealed twice finds it
      const [name = ''] = readdirSync(agreed)
      const number = Number(name.split('.')[1])
      const records = readFileSync(path.join(agreed, name), 'utf8').split('\n').map((line) => decodeRecord(Buffer.from(line))).filter((record) => record !== undefined)
      const messages = records.filter(([kind]) => kind === 'say')
      const [, , log = ''] = records[0] ?? []
      const write = (at: number, last: string, ...then: LogRecord[]): void =>
        writeFileSync(path.join(agreed, `log.${at}.${log}`), Buffer.concat([['begin', '', log, last], ['lines', '', '[]'], ['ready', ''], ...then].map((record) => encodeRecord(record as LogRecord))))
      write(number + 1, messages.at(-left - 1)?.[2] ?? '', ...messages.slice(-left), ['seal', '', String(number + 1)])
      write(number + 2, messages.at(-1)?.[2] ?? '')
      rmSync(path.join(agreed, name))
    },
  }
}
describe('processes on a directory', () => {
  describeCoordination({ name: 'a directory', create: subject })
  describeProcesses(() => {
    const basePath = temporaryDirectory()
    return () => new FileSystemBackend({ basePath })
  })
})
