import fs from 'node:fs'

const PIECE = 64 * 1024
/** A longer line is none of ours: names are short. */
export const LONGEST_LINE = 64 * 1024
const NEWLINE = 0x0a

/**
 * The lines of a file, at once, whatever it holds and however large it is: lines that are too long are left out, and so is a last line that has no
 * end, because a write of it broke off. Throws the file system's error when the file cannot be read.
 */
export function* linesNow(file: string): Generator<string, void, undefined> {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
  try {
    const piece = Buffer.allocUnsafe(PIECE)
    let kept: Buffer[] = []
    let keptBytes = 0
    for (let count = fs.readSync(fd, piece, 0, PIECE, null); count > 0; count = fs.readSync(fd, piece, 0, PIECE, null)) {
      let at = 0
      for (let end = piece.indexOf(NEWLINE); end !== -1 && end < count; end = piece.indexOf(NEWLINE, at)) {
        keptBytes += end - at
        if (keptBytes <= LONGEST_LINE) yield Buffer.concat([...kept, piece.subarray(at, end)]).toString('utf8')
        kept = []
        keptBytes = 0
        at = end + 1
      }
      keptBytes += count - at
      if (keptBytes > LONGEST_LINE) kept = []
      else if (count > at) kept.push(Buffer.from(piece.subarray(at, count)))
    }
  } finally {
    fs.closeSync(fd)
  }
}
