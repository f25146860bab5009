import { existsSync } from 'node:fs'
import { type Bucket, Storage } from '@google-cloud/storage'
import { beforeAll, expect, jest, test } from '@jest/globals'
import { describeGcsEmulator, type GcsEmulator, startGcsEmulator } from '../support/gcs/index.js'
import { startProxy } from '../support/proxy.js'
import { isThere } from './processes.js'

jest.setTimeout(30_000) // starting servers takes its time on a busy machine

describeGcsEmulator('the Cloud Storage emulator of a test', () => {
  let emulator: GcsEmulator
  let bucket: Bucket

  beforeAll(async () => {
    emulator = await startGcsEmulator()
    bucket = clientOf(emulator).bucket(await emulator.createBucket())
  })

  test.each([false, true])('keeps objects with what is said of them (resumable: %s)', async (resumable) => {
    const file = bucket.file('a/ö b')
    await file.save('body', { resumable, contentType: 'text/plain', metadata: { metadata: { ours: 'yes' } } })
    expect((await file.download())[0].toString()).toBe('body')
    expect((await file.download({ start: 1, end: 2 }))[0].toString()).toBe('od')
    await file.setMetadata({ metadata: { theirs: 'no' } })
    expect((await file.getMetadata())[0]).toMatchObject({ name: 'a/ö b', size: '4', metadata: { ours: 'yes', theirs: 'no' } })
    await file.copy(bucket.file('copy'))
    expect((await bucket.getFiles())[0].map(({ name }) => name)).toEqual(['a/ö b', 'copy'])
    await Promise.all([file.delete(), bucket.file('copy').delete()])
    await expect(file.download()).rejects.toMatchObject({ code: 404 })
  })

  test('can be reached through a proxy', async () => {
    const proxy = await startProxy(emulator.port)
    const file = clientOf(emulator, proxy.port).bucket(bucket.name).file('key')
    await file.save(Buffer.alloc(100_000, 'x'), { resumable: true })
    expect(proxy.accepted).toBeGreaterThan(0)
    await proxy.resetMidReply(50_000)
    await expect(fetch(`http://127.0.0.1:${proxy.port}/b/${bucket.name}/o/key?alt=media`).then((answer) => answer.text())).rejects.toThrow()
    await proxy.refuse()
    await expect(file.getMetadata()).rejects.toThrow(/ECONNREFUSED|ECONNRESET|socket hang up/)
  })

  test('is not another one, can be killed, comes back empty, and stops without a trace', async () => {
    const other = await startGcsEmulator()
    const file = clientOf(other).bucket(bucket.name).file('key')
    await bucket.file('key').save('first', { resumable: false })
    await expect(file.download()).rejects.toMatchObject({ code: 404 })
    await file.save('other', { resumable: false })
    expect((await bucket.file('key').download())[0].toString()).toBe('first')
    await other.kill()
    await expect(file.download()).rejects.toThrow(/ECONNREFUSED/)
    await other.restart()
    await expect(file.download()).rejects.toMatchObject({ code: 404 })
    const { pid, dir } = other
    await other.stop()
    expect([isThere(pid), existsSync(dir)]).toEqual([false, false])
  })
})

function clientOf(emulator: GcsEmulator, port = emulator.port): Storage {
  return new Storage({ ...emulator.storageOptions(port), retryOptions: { autoRetry: false } })
}
