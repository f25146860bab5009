import fs from 'node:fs'
import { removeEntryFile, type Removed } from './entry-file.js'
import { asFsError, isMissing, isNotAFile } from './errors.js'
import { fsyncDirectory } from './file-io.js'
import type { Store } from './store.js'

/** Removes an entry's file as {@link removeEntryFile} does, and what is known of it. */
export async function removeEntry(store: Store, file: string, operation: string, key: string | undefined, onlyIf?: Parameters<typeof removeEntryFile>[2]): Promise<Removed | undefined> {
  try {
    const removed = await removeEntryFile(file, store.descriptors.close, onlyIf)
    if (removed === undefined) return undefined
    store.space?.removed(removed.bytes)
    store.recency.forget(file)
    return removed
  } catch (error) {
    throw asFsError(error, operation, key)
  }
}

/** What was deleted must not be back after power loss either. */
export async function settleRemovals(store: Store, directory: string, operation: string): Promise<void> {
  if (!store.fsync) return
  try {
    await fsyncDirectory(directory)
  } catch (error) {
    if (!isMissing(error) && !isNotAFile(error)) throw asFsError(error, operation, undefined)
  }
}

export async function removeIfEmpty(store: Store, directory: string): Promise<void> {
  if (store.space !== undefined) return store.space.removeDirectory(directory)
  await fs.promises.rmdir(directory).catch(() => undefined) // goes only when it is empty
}
