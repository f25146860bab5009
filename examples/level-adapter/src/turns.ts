/** Work on one name, one after the other; work on different names goes side by side. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Begins `work` when everything that took a turn on `name` before has ended, well or badly. */
  take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(work)
    const ended: Promise<unknown> = turn.then(forget, forget).then(() => {
      if (this.#last.get(name) === ended) this.#last.delete(name)
    })
    this.#last.set(name, ended)
    return turn
  }
}

function forget(): void {
  // the caller of take() has the outcome
}
