import fs from 'node:fs'
import type { OperationOptions } from '@thermocline/backend'
import { sharedDisk } from './disk.js'
import { removeEntryFile, type Removed } from './entry-file.js'
import { asFsError, isMissing, isNotAFile } from './errors.js'
import { fsyncDirectory } from './file-io.js'
import { failureAt } from './reach.js'
import type { Store } from './store.js'

const NO_OPTIONS: OperationOptions = {}

export interface RemovalOptions {
  /** Asked as {@link removeEntryFile} asks. */
  readonly onlyIf?: Parameters<typeof removeEntryFile>[2]
  readonly options?: OperationOptions
  /** Whether an entry that is being written to the same place goes first, and this one is left. */
  readonly yields?: boolean
}

/** Removes an entry's file as {@link removeEntryFile} does, and what is known of it. */
export async function removeEntry(store: Store, file: string, operation: string, key: string | undefined, { onlyIf, options = NO_OPTIONS, yields = false }: RemovalOptions = {}): Promise<Removed | undefined> {
  try {
    const remove = (): Promise<Removed | undefined> => removeEntryFile(file, store.descriptors.close, onlyIf)
    const removed = await sharedDisk().turns.during(options, () => (yields ? store.paths.removing(file, remove) : remove()))
    if (removed === undefined) return undefined
    store.space?.removed(removed.bytes)
    store.recency.forget(file)
    store.hosts.forget(file)
    return removed
  } catch (error) {
    throw await failureAt(store.layout, error, operation, key)
  }
}

/** What was deleted must not be back after power loss either. */
export async function settleRemovals(store: Store, directory: string, operation: string): Promise<void> {
  if (!store.fsync) return
  try {
    await sharedDisk().turns.during(NO_OPTIONS, () => fsyncDirectory(directory))
  } catch (error) {
    if (!isMissing(error) && !isNotAFile(error)) throw asFsError(error, operation, undefined)
  }
}

export async function removeIfEmpty(store: Store, directory: string): Promise<void> {
  if (store.space !== undefined) return store.space.removeDirectory(directory)
  await fs.promises.rmdir(directory).catch(() => undefined) // goes only when it is empty
}
