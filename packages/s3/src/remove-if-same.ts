import type { Opened } from './connection.js'
import { statusOf } from './errors.js'
import type { Found } from './found.js'

/**
 * Removes an object that was found damaged, unless another has taken its place. It is looked at first and then removed under the
 * condition that it is still the same: not every store knows the condition, and some ignore it. Never rejects: what stays is found
 * again.
 */
export async function removeIfSame({ sdk, client }: Opened, bucket: string, name: string, { ETag, LastModified }: Found): Promise<void> {
  const object = { Bucket: bucket, Key: name }
  try {
    const now = await client.send(new sdk.HeadObjectCommand(object))
    if (now.ETag !== ETag || now.LastModified?.getTime() !== LastModified?.getTime()) return
    await client.send(new sdk.DeleteObjectCommand({ ...object, IfMatch: ETag })).catch(async (error: unknown) => {
      if (statusOf(error) === 501 || statusOf(error) === 400) await client.send(new sdk.DeleteObjectCommand(object))
    })
  } catch {
    // gone, or out of reach: the next reader will see
  }
}
