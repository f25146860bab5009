import fs from 'node:fs'

/** What came of a link; `null`: it is there. */
export type LinkOutcome = NodeJS.ErrnoException | null

/** Gives a file another name; resolves with the file system's error, if there is one. */
export function link(from: string, to: string): Promise<LinkOutcome> {
  return new Promise((resolve) => {
    fs.link(from, to, resolve)
  })
}

/** The same at once, for where that waits for nobody. */
export function linkNow(from: string, to: string): LinkOutcome {
  try {
    fs.linkSync(from, to)
    return null
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
}
