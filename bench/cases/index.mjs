import { besideUploadCases } from './beside-upload.mjs'
import { diskCases } from './disk.mjs'
import { coldCases } from './cold-key.mjs'
import { gcsCases } from './gcs.mjs'
import { heapCases } from './heap.mjs'
import { hotCases } from './hot.mjs'
import { importCases } from './import.mjs'
import { limitCases } from './disk-limit.mjs'
import { openCases } from './open.mjs'
import { processCases } from './processes.mjs'
import { redisCases } from './redis.mjs'
import { s3Cases, s3StreamCases } from './s3.mjs'
import { s3TierCases } from './s3-tiers.mjs'
import { staleCases } from './stale.mjs'

/** In the order of the page. */
export const cases = [...hotCases, ...staleCases, ...coldCases, ...redisCases, ...processCases, ...diskCases, ...limitCases, ...besideUploadCases, ...openCases, ...heapCases, ...importCases, ...s3Cases, ...s3StreamCases, ...s3TierCases, ...gcsCases]

export function findCase(name) {
  const found = cases.find((one) => one.name === name)
  if (found === undefined) throw new Error(`there is no case ${name}; the cases are ${cases.map((one) => one.name).join(', ')}`)
  return found
}
