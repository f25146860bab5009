import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { beforeEach, describe, expect, test } from '@jest/globals'
import { CacheError, validateTenant, type CacheBackend } from '@thermocline/backend'
import type { PolicyOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import type { PayloadPlace, PayloadStep, StepReader } from '../../packages/core/src/codec/payload-step.js'
import { Engine } from '../../packages/core/src/manager/engine.js'
import { TenantCache } from '../../packages/core/src/manager/tenant-cache.js'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

const TAG_BYTES = 16
const NONCE_BYTES = 12
const SECRET = 'the patient is called Smith. '

/** Encrypts what tiers keep, and binds it to its place: nonce, bytes, tag. */
class Seal implements PayloadStep, StepReader {
  readonly id = 'aes'
  readonly optionalFrom = undefined
  readonly reader = this
  isBroken = false
  readonly #key = randomBytes(32)

  async apply(bytes: Uint8Array, place: PayloadPlace): Promise<Uint8Array> {
    if (this.isBroken) throw new Error('the key service is away')
    const sealing = this.applying(place)
    sealing.end(bytes)
    return Buffer.concat((await sealing.toArray()) as Buffer[])
  }

  applying(place: PayloadPlace): Transform {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(aadOf(place))
    const isBroken = (): boolean => this.isBroken
    let hasBegun = false
    return new Transform({
      transform(chunk: Buffer, _, done) {
        if (isBroken()) return done(new Error('the key service is away'))
        if (!hasBegun) this.push(nonce)
        hasBegun = true
        done(null, cipher.update(chunk))
      },
      flush(done) {
        if (!hasBegun) this.push(nonce)
        done(null, Buffer.concat([cipher.final(), cipher.getAuthTag()]))
      },
    })
  }

  async undo(bytes: Uint8Array, place: PayloadPlace, maxBytes: number): Promise<Uint8Array | undefined> {
    const plain = await Promise.resolve(this.#opened(Buffer.from(bytes), place))
    return plain.byteLength > maxBytes ? undefined : plain
  }

  undoing(place: PayloadPlace): Transform {
    const chunks: Buffer[] = []
    const opened = (): Buffer => this.#opened(Buffer.concat(chunks), place)
    return new Transform({
      transform(chunk: Buffer, _, done) {
        chunks.push(chunk)
        done()
      },
      flush(done) {
        try {
          done(null, opened())
        } catch (error) {
          done(error as Error)
        }
      },
    })
  }

  #opened(sealed: Buffer, place: PayloadPlace): Buffer {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, NONCE_BYTES)).setAAD(aadOf(place)).setAuthTag(sealed.subarray(-TAG_BYTES))
      return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
    } catch (cause) {
      throw new CacheError('corrupt', 'the payload does not open', { operation: 'decode', cause })
    }
  }
}

const aadOf = ({ tenant, key }: PayloadPlace): Buffer => Buffer.from(`${tenant}\0${key}`)

let seal: Seal
let directory: string

beforeEach(() => {
  seal = new Seal()
  directory = temporaryDirectory()
})

interface Opened {
  readonly engine: Engine
  readonly acme: TenantCache
  readonly errors: string[]
}

const disk = (name: string): CacheBackend => new FileSystemBackend({ basePath: path.join(directory, name) })

/** Memory above a disk, unless other tiers are given. Everything is sealed that disks keep. */
function open(policy: PolicyOptions = {}, backends: Readonly<Record<string, CacheBackend>> = { memory: new MemoryBackend(), disk: disk('disk') }, steps: readonly (PayloadStep & StepReader)[] = [seal]): Opened {
  const tiers = Object.fromEntries(Object.entries(backends).map(([name, backend]) => [name, { backend }]))
  const engine = new Engine({ tiers, policies: { default: policy }, logger: false })
  for (const step of steps) {
    engine.payloads.add(step)
    for (const each of engine.policies.all) (each.steps as PayloadStep[]).push(step)
  }
  const errors: string[] = []
  engine.events.on('error', ({ error }) => errors.push(`${error.operation} ${error.code}`))
  afterwards(async () => {
    await engine.drained()
    engine.close()
    await engine.writeBack.close()
    for (const tier of engine.tiers) tier.leave()
  })
  return { engine, acme: new TenantCache(engine, engine.tenants.of(validateTenant('acme'))), errors }
}

function filesOnDisk(): string[] {
  return fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((file) => file.isFile()).map((file) => path.join(file.parentPath, file.name))
}

/** Everything that lies on the disks. */
function onDisk(): string {
  return filesOnDisk().map((file) => fs.readFileSync(file, 'latin1')).join('\n')
}

const text = async (stream: Promise<Readable | undefined>): Promise<string> => Buffer.concat((await (await stream)?.toArray()) ?? []).toString()

const DISK = { tiers: { memory: false } } as const
const LONG = SECRET.repeat(5000)

describe('a step that must not be left out', () => {
  test.each([[undefined, 'utf8+aes'], ['gzip', 'utf8+gzip+aes']] as const)('goes around what is stored, after compression %s, and is undone by whoever reads', async (compression, codec) => {
    const { acme } = open({ compression })
    for (const value of ['', SECRET, LONG]) {
      await acme.set('k', value)
      expect(await acme.get('k', DISK)).toBe(value)
      expect(await text(acme.getStream('k', DISK))).toBe(value)
    }
    expect(onDisk()).toContain(codec)
    expect(onDisk()).not.toContain(SECRET)
    expect(await acme.getOrCompute('computed', () => ({ secret: SECRET }))).toEqual({ secret: SECRET })
    expect(await acme.get('computed', DISK)).toEqual({ secret: SECRET })
    expect([...(await acme.getMany(['k', 'computed'], DISK)).values()]).toEqual([LONG, { secret: SECRET }])
    expect(onDisk()).not.toContain(SECRET)
  })

  test.each([undefined, 'gzip'] as const)('goes around streams, after compression %s', async (compression) => {
    const { acme } = open({ compression })
    for (const [at, value] of ['', SECRET, LONG].entries()) {
      await acme.setStream(`s${at}`, [value])
      expect(await text(acme.getStream(`s${at}`, DISK))).toBe(value)
      expect(String(await acme.get(`s${at}`, DISK))).toBe(value)
      expect(await text(acme.getOrComputeStream(`c${at}`, () => [value]))).toBe(value)
      expect(await text(acme.getStream(`c${at}`, DISK))).toBe(value)
    }
    expect(onDisk()).not.toContain(SECRET)
  })

  test('is told whose payload it is: in another place it does not open, and is a miss', async () => {
    const { acme, errors } = open()
    await acme.set('k', SECRET)
    await acme.set('other', SECRET)
    const [first, second] = filesOnDisk().filter((file) => file.endsWith('.tc')) as [string, string]
    const payloadOf = (file: string): Buffer => fs.readFileSync(file).subarray(-(NONCE_BYTES + SECRET.length + TAG_BYTES))
    expect(payloadOf(first).equals(payloadOf(second))).toBe(false)
    await expect(seal.undo(payloadOf(first), { tenant: 'acme', key: 'nobody' }, 1000)).rejects.toMatchObject({ code: 'corrupt' })
    const places = await Promise.all(['k', 'other'].map((key) => seal.undo(payloadOf(first), { tenant: 'acme', key }, 1000).then(String, () => 'closed')))
    expect(places.toSorted()).toEqual(['closed', SECRET])
    expect(errors).toEqual([])
  })

  test('stays around what moves from one disk to another', async () => {
    const { engine, acme } = open({}, { memory: new MemoryBackend(), warm: disk('warm'), cold: disk('cold') })
    await acme.set('k', LONG, { tiers: { memory: false, warm: false } })
    expect(await acme.get('k')).toBe(LONG) // promoted
    await engine.drained()
    expect(await acme.get('k', { tiers: { memory: false, cold: false } })).toBe(LONG)
    expect(onDisk()).not.toContain(SECRET)
  })

  test('comes around what is promoted from memory to a disk', async () => {
    const { engine, acme } = open({}, { disk: disk('disk'), memory: new MemoryBackend() })
    await acme.set('k', SECRET, { tiers: { disk: false } })
    expect(await acme.get('k')).toBe(SECRET)
    await engine.drained()
    expect(await acme.get('k', { tiers: { memory: false } })).toBe(SECRET)
    expect(onDisk()).toContain('+aes')
    expect(onDisk()).not.toContain(SECRET)
  })

  test('comes around what memory has no room for', async () => {
    const { acme } = open({ tiers: { disk: { write: 'demote' } } }, { memory: new MemoryBackend({ maxEntries: 1 }), disk: disk('disk') })
    await acme.set('a', SECRET)
    await acme.set('b', SECRET)
    await until('it is demoted', async () => (await acme.get('a', DISK)) === SECRET)
    expect(onDisk()).toContain('+aes')
    expect(onDisk()).not.toContain(SECRET)
  })

  test('goes around what is written back', async () => {
    const { engine, acme } = open({ tiers: { cold: { write: 'back' } } }, { memory: new MemoryBackend(), warm: disk('warm'), cold: disk('cold') })
    await acme.set('k', LONG)
    await acme.setStream('s', [LONG])
    await engine.drained()
    const COLD = { tiers: { memory: false, warm: false } } as const
    expect(await acme.get('k', COLD)).toBe(LONG)
    expect(await text(acme.getStream('s', COLD))).toBe(LONG)
    expect(onDisk()).not.toContain(SECRET)
  })

  test('that cannot be done stores nothing on a disk, and says so; what was there goes', async () => {
    const { acme, errors } = open()
    await acme.set('k', 'old')
    seal.isBroken = true
    await acme.set('k', SECRET)
    expect(await acme.get('k', DISK)).toBeUndefined()
    expect(await acme.getOrCompute('computed', () => SECRET)).toBe(SECRET)
    expect(await acme.get('computed', DISK)).toBeUndefined()
    expect(await acme.get('k')).toBe(SECRET) // memory keeps the value
    expect(errors).toEqual(['encode failed', 'encode failed'])
    expect(onDisk()).not.toContain(SECRET)
  })

  test('that fails in the middle of a stream stores nothing, and the compute is shared to its end', async () => {
    const { acme } = open()
    seal.isBroken = true
    let computes = 0
    let end = (): void => undefined
    const rest = new Promise<void>((resolve) => (end = resolve))
    const produce = async function* (): AsyncGenerator<string> {
      computes++
      yield SECRET
      await rest
      yield SECRET
    }
    const first = text(acme.getOrComputeStream('k', produce))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const second = text(acme.getOrComputeStream('k', produce))
    end()
    expect([await first, await second]).toEqual([SECRET + SECRET, SECRET + SECRET])
    expect(computes).toBe(1)
    expect(await acme.get('k', DISK)).toBeUndefined()
    expect(onDisk()).not.toContain(SECRET)
  })

  test('that is not known here is a miss', async () => {
    await open().acme.set('k', SECRET)
    const { acme, errors } = open({}, { disk: disk('disk') }, [])
    expect(await acme.get('k')).toBeUndefined()
    expect(await acme.getStream('k')).toBeUndefined()
    expect(errors).toEqual(['decode foreign', 'decode foreign'])
  })
})
