/** `operation(0)` to `operation(count - 1)`, so many at a time. */
export async function inParallel(width, count, operation) {
  let next = 0
  const worker = async () => {
    while (next < count) await operation(next++)
  }
  await (width === 1 ? worker() : Promise.all(Array.from({ length: width }, worker)))
}
