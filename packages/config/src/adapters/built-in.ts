import type { BuiltIn } from './built-in-adapter.js'
import { gcs } from './gcs.js'
import { local } from './local.js'
import { memory } from './memory.js'
import { redis } from './redis.js'
import { s3 } from './s3.js'

/** By the name a configuration uses. */
export const BUILT_IN: ReadonlyMap<string, BuiltIn> = new Map<string, BuiltIn>([
  ['memory', memory],
  ['local', local],
  ['fs', local],
  ['redis', redis],
  ['s3', s3],
  ['gcs', gcs],
])
