import { createHash } from 'node:crypto'
import { crc32c } from './crc32c.js'
import type { ObjectFields } from './metadata.js'
import { noBucket, noObject } from './reply.js'

export interface StoredObject {
  readonly bucket: string
  readonly name: string
  readonly data: Buffer
  readonly generation: number
  readonly md5Hash: string
  readonly crc32c: string
  readonly timeCreated: Date
  readonly fields: ObjectFields & { readonly storageClass: string }
  readonly metageneration: number
  readonly updated: Date
}

export interface StoredBucket {
  readonly name: string
  readonly location: string
  readonly storageClass: string
  readonly timeCreated: Date
  readonly objects: Map<string, StoredObject>
  /** Rules as they were sent; `undefined` when there are none. */
  lifecycle: { readonly rule: readonly LifecycleRule[] } | undefined
  labels: Readonly<Record<string, string>> | undefined
  metageneration: number
  updated: Date
}

export interface LifecycleRule {
  readonly action: { readonly type: string; readonly storageClass?: string }
  readonly condition: Readonly<Record<string, unknown>>
}

/** The buckets and what is in them, in memory. Without versioning: a write replaces, a deletion is for good. */
export class Store {
  readonly buckets = new Map<string, StoredBucket>()
  #lastGeneration = 0

  bucket(name: string): StoredBucket {
    const bucket = this.buckets.get(name)
    if (bucket === undefined) throw noBucket()
    return bucket
  }

  /** Of this generation, when one is named: an older one is no more. */
  object(bucketName: string, name: string, generation: string | null = null): StoredObject {
    const object = this.bucket(bucketName).objects.get(name)
    if (object === undefined) throw noObject(bucketName, name)
    if (generation !== null && Number(generation) !== object.generation) throw noObject(bucketName, `${name}#${generation}`)
    return object
  }

  /**
   * Makes an object, in place of the one that is there. A new generation is a higher number, in practice the microseconds
   * of its making, and its metageneration begins at 1 (cloud.google.com/storage/docs/metadata#generation-number).
   */
  insert(bucketName: string, name: string, data: Buffer, fields: ObjectFields): StoredObject {
    const bucket = this.bucket(bucketName)
    const now = new Date()
    this.#lastGeneration = Math.max(this.#lastGeneration + 1, now.getTime() * 1_000)
    const object: StoredObject = {
      bucket: bucketName,
      name,
      data,
      generation: this.#lastGeneration,
      md5Hash: createHash('md5').update(data).digest('base64'),
      crc32c: crc32c(data),
      timeCreated: now,
      fields: { ...fields, storageClass: fields.storageClass ?? bucket.storageClass },
      metageneration: 1,
      updated: now,
    }
    bucket.objects.set(name, object)
    return object
  }

  /** Replaces the fields of an object: the next metageneration of the same generation. */
  update(object: StoredObject, fields: StoredObject['fields']): StoredObject {
    const next = { ...object, fields, metageneration: object.metageneration + 1, updated: new Date() }
    this.bucket(object.bucket).objects.set(object.name, next)
    return next
  }
}

/** "Resource representations" of cloud.google.com/storage/docs/json_api/v1/objects; numbers of 64 bits are strings. */
export function objectResource(object: StoredObject): object {
  const { bucket, name, generation, metageneration, fields } = object
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${generation}`,
    name,
    bucket,
    generation: String(generation),
    metageneration: String(metageneration),
    ...fields,
    size: String(object.data.length),
    md5Hash: object.md5Hash,
    crc32c: object.crc32c,
    etag: etagOf(object),
    timeCreated: object.timeCreated.toISOString(),
    updated: object.updated.toISOString(),
    timeStorageClassUpdated: object.timeCreated.toISOString(),
  }
}

/** "Resource representations" of cloud.google.com/storage/docs/json_api/v1/buckets. */
export function bucketResource({ name, location, storageClass, metageneration, timeCreated, updated, lifecycle, labels }: StoredBucket): object {
  return {
    kind: 'storage#bucket',
    id: name,
    name,
    location,
    storageClass,
    metageneration: String(metageneration),
    timeCreated: timeCreated.toISOString(),
    updated: updated.toISOString(),
    ...(lifecycle === undefined ? {} : { lifecycle }),
    ...(labels === undefined ? {} : { labels }),
  }
}

export function etagOf({ generation, metageneration }: StoredObject): string {
  return Buffer.from(`${generation}/${metageneration}`).toString('base64')
}
