/** How many milliseconds the work takes. */
export async function timed(work) {
  const startedAt = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - startedAt) / 1e6
}
