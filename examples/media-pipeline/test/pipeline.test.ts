import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import jpeg from 'jpeg-js'
import { PNG } from 'pngjs'
import { describeGcsEmulator, startGcsEmulator, startStrictGcs, type GcsServer } from '../../../test/support/gcs/index.js'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const run = promisify(execFile)
const IMAGES = 5
const NONE = { S3_ENDPOINT: '', S3_BUCKET: '', GCS_BUCKET: '', STORAGE_EMULATOR_HOST: '' }

let directory: string
let runs = 0

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'thermocline-media-'))
  await mkdir(path.join(directory, 'images'))
  for (let at = 0; at < IMAGES; at++) await writeFile(path.join(directory, 'images', `${at}.${at === 0 ? 'jpg' : 'png'}`), picture(at))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

/** Stripes in colours of their own; the first as a JPEG. */
function picture(at: number): Buffer {
  const [width, height] = [64, 36]
  const data = Buffer.alloc(width * height * 4, 255)
  for (let pixel = 0; pixel < width * height; pixel++) data.set([at * 40, (pixel % width) * 4, pixel % (at + 7) === 0 ? 255 : 0], pixel * 4)
  if (at === 0) return jpeg.encode({ width, height, data }).data
  return PNG.sync.write(Object.assign(new PNG({ width, height }), { data }))
}

async function pipeline(environment: NodeJS.ProcessEnv = {}, ...args: string[]): Promise<string> {
  const env = {
    ...process.env,
    NODE_OPTIONS: '',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    ...NONE,
    PIPELINE_CACHE_DIR: path.join(directory, 'cache'),
    ...environment,
  }
  return (await run(process.execPath, [main, '--dir', path.join(directory, 'images'), ...args], { env })).stdout
}

/** What is told of a step, by the heading of its column. */
function step(output: string, name: string): Record<string, number> {
  const lines = output.split('\n')
  const at = lines.findIndex((text) => text.startsWith('step '))
  const [heading = '', rule = ''] = lines.slice(at, at + 2)
  const line = lines.find((text) => text.startsWith(`${name} `)) ?? ''
  const cells = [...rule.matchAll(/-+/g)].map(({ 0: dashes, index }) => [heading, line].map((text) => text.slice(index, index + dashes.length).trim()))
  return Object.fromEntries(cells.slice(1).flatMap(([title = '', cell = '']) => (cell === '' ? [] : [[title, Number.parseFloat(cell)]])))
}

const videoIn = (output: string): string => /video: .*sha256 (\w+)/.exec(output)?.[1] ?? ''

describe('the media pipeline', () => {
  test('computes everything once, and nothing in a second process but what stays in memory', async () => {
    const first = await pipeline()
    expect(first).toContain(`${IMAGES} images`)
    expect(first).toMatch(/like 0\.jpg: 1\.png \(0\.\d+\), /)
    for (const name of ['frames', 'thumbnails', 'embeddings']) expect(step(first, name)['computed']).toBe(IMAGES)
    expect(first).toMatch(/video: 3\.5 MB streamed in .*, made, /)
    expect(first).toContain('There is no bucket')
    const second = await pipeline()
    expect(step(second, 'frames')).toMatchObject({ 'from warm': IMAGES, computed: 0 })
    expect(step(second, 'thumbnails')).toMatchObject({ 'from hot': 0, 'from warm': IMAGES, computed: 0 })
    expect(step(second, 'embeddings')).toMatchObject({ computed: 0 })
    expect(step(second, 'search_results')).toMatchObject({ computed: 2 })
    expect(second).toMatch(/video: 3\.5 MB streamed in .*, from the tier warm, /)
    expect(videoIn(second)).toBe(videoIn(first))
  }, 60_000)

  test('says what is wrong with a folder without images', async () => {
    await rm(path.join(directory, 'images'), { recursive: true })
    await mkdir(path.join(directory, 'images'))
    await expect(pipeline()).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('name another folder with --dir') })
  }, 60_000)
})

/** Nothing was made again. What is asked for twice at once may come from the bucket twice: it is copied to the disk in the background. */
function expectFetched(counts: Record<string, number>): void {
  expect(counts['computed']).toBe(0)
  expect(counts['from cold']).toBeGreaterThanOrEqual(IMAGES)
}

/** What holds with any bucket. */
function withBucket(environment: () => NodeJS.ProcessEnv): void {
  test('a machine with an empty disk finds everything that is worth fetching', async () => {
    const first = await pipeline(environment())
    expect(step(first, 'embeddings')).toMatchObject({ computed: IMAGES })
    expect(first).toMatch(new RegExp(`Written back: \\d+ uploaded meanwhile, \\d+ pending .*: ${IMAGES} uploaded, 0 pending`))
    await rm(path.join(directory, 'cache'), { recursive: true })
    const second = await pipeline(environment())
    for (const name of ['frames', 'embeddings']) expectFetched(step(second, name))
    expect(step(second, 'thumbnails')).toMatchObject({ computed: IMAGES })
    expect(second).toMatch(/video: .*, from the tier cold, /)
    expect(videoIn(second)).toBe(videoIn(first))
    const third = await pipeline(environment())
    expect(step(third, 'frames')).toMatchObject({ 'from warm': IMAGES, computed: 0 })
    expect(step(third, 'frames')).not.toHaveProperty('from cold') // which was not asked
    expect(third).toMatch(/video: .*, from the tier warm, /)
  }, 120_000)

  test('what an outage keeps back is uploaded by a later run', async () => {
    const down = { ...environment() }
    if (down.S3_ENDPOINT === '') down.STORAGE_EMULATOR_HOST = 'http://127.0.0.1:1'
    else down.S3_ENDPOINT = 'http://127.0.0.1:1'
    const first = await pipeline(down)
    expect(first.split('\n').filter((text) => text.includes('The tier cold does not answer'))).toHaveLength(1)
    expect(first).toMatch(new RegExp(`To be written back: ${IMAGES} pending`))
    const second = await pipeline(environment())
    expect(step(second, 'embeddings')).toMatchObject({ computed: 0 })
    expect(second).toMatch(new RegExp(`: ${IMAGES} uploaded, 0 pending`))
    await rm(path.join(directory, 'cache'), { recursive: true })
    expectFetched(step(await pipeline(environment()), 'embeddings'))
  }, 120_000)
}

describeS3('with S3_ENDPOINT', () => {
  let server: S3Server
  let bucket: string
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
  }, 60_000)
  afterAll(() => server?.stop())

  const environment = (prefix = `run-${++runs}`): NodeJS.ProcessEnv => ({
    ...NONE,
    S3_ENDPOINT: server.endpoint,
    S3_BUCKET: bucket,
    AWS_REGION: server.region,
    AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
    AWS_SESSION_TOKEN: server.credentials.sessionToken,
    PIPELINE_PREFIX: prefix,
  })

  describe('', () => {
    let own: NodeJS.ProcessEnv
    beforeEach(() => void (own = environment()))
    withBucket(() => own)
  })

  test('frames are plain PNG files in the bucket, and thumbnails are not there', async () => {
    await pipeline(environment('plain'))
    const client = new S3Client(server.clientConfig())
    try {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'plain/tenants/studio/' }))
      const kinds = Contents.map(({ Key = '' }) => Key.split('/')[3])
      expect(Object.fromEntries([...new Set(kinds)].map((kind) => [kind, kinds.filter((other) => other === kind).length]))).toEqual({ embeddings: IMAGES, frames: IMAGES, renders: 1 })
      const { Body, ContentType } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: Contents.find(({ Key = '' }) => Key.endsWith('.png'))!.Key }))
      expect(ContentType).toBe('image/png')
      expect(PNG.sync.read(await buffer(Body as Readable))).toMatchObject({ width: 320, height: 180 })
    } finally {
      client.destroy()
    }
  }, 60_000)
})

/** The same on a server that speaks Cloud Storage. */
function onCloudStorage(start: () => Promise<GcsServer>): void {
  let server: GcsServer
  let bucket: string
  let own: NodeJS.ProcessEnv
  beforeAll(async () => {
    server = await start()
    bucket = await server.createBucket()
  }, 60_000)
  afterAll(() => server?.stop())
  beforeEach(() => void (own = { ...NONE, GCS_BUCKET: bucket, STORAGE_EMULATOR_HOST: server.endpoint, PIPELINE_PREFIX: `run-${++runs}` }))
  withBucket(() => own)
}

describeGcsEmulator("with GCS_BUCKET, on Google's emulator", () => onCloudStorage(startGcsEmulator))
describe('with GCS_BUCKET, on the strict server', () => onCloudStorage(startStrictGcs))
