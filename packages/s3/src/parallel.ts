/** What becomes of each item, in their order, with so many under way at once. The next are begun only when somebody takes the results. */
export async function* inParallel<T, R>(items: Iterable<T>, most: number, work: (item: T) => Promise<R>): AsyncGenerator<R, void, undefined> {
  const underWay: Promise<R>[] = []
  for (const item of items) {
    const working = work(item)
    working.catch(() => undefined) // told when its turn comes, unless another failed first
    underWay.push(working)
    if (underWay.length >= most) yield await (underWay.shift() as Promise<R>)
  }
  for (const working of underWay) yield await working
}
