const WIDTH = 30

/** A progress bar on a terminal; a line at each quarter elsewhere. */
export class Progress {
  readonly #label: string
  #quarter = -1

  constructor(label: string) {
    this.#label = label
  }

  show(done: number, of: number): void {
    const filled = Math.round((done / of) * WIDTH)
    const line = `  ${this.#label} [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done}/${of}`
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${line}${done === of ? '\n' : ''}`)
      return
    }
    const quarter = Math.floor((done / of) * 4)
    if (quarter === this.#quarter) return
    this.#quarter = quarter
    console.log(line)
  }
}
