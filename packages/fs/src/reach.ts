import fs from 'node:fs'
import path from 'node:path'
import { CacheError, isCacheError } from '@thermocline/backend'
import { asFsError, codeOf, isDenied, isMissing, isNotAFile } from './errors.js'
import type { Layout } from './layout.js'

/**
 * What a failure at one entry's file means: its own, unless the directory of all tenants cannot be reached either. The system
 * says the same in both cases.
 */
export async function failureAt(layout: Layout, error: unknown, operation: string, key: string | undefined): Promise<CacheError> {
  if (isCacheError(error)) return error
  const whole = isDenied(error) || isNotAFile(error) ? await directoryProblem(layout) : undefined
  if (whole === undefined) return asFsError(error, operation, key)
  const { message, code } = asFsError(whole, operation, key)
  return new CacheError(code === 'foreign' ? 'unavailable' : code, `${message}: nothing in it can be reached`, { operation, backend: 'fs', key, cause: error })
}

async function directoryProblem({ tenants }: Layout): Promise<unknown> {
  try {
    await fs.promises.access(`${tenants}${path.sep}.`, fs.constants.X_OK)
    return undefined
  } catch (error) {
    return isMissing(error) || codeOf(error) === undefined ? undefined : error
  }
}
