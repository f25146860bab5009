import jpeg from 'jpeg-js'
import { PNG } from 'pngjs'

/** Pixels from left to right and top to bottom, four bytes each: red, green, blue, opacity. */
export interface Image {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

export const IMAGE_FILE = /\.(?:png|jpe?g)$/i

/** @throws Error for bytes that are neither PNG nor JPEG */
export function decodeImage(bytes: Uint8Array): Image {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50
  return isPng ? PNG.sync.read(Buffer.from(bytes)) : jpeg.decode(bytes, { useTArray: true })
}

export function encodePng({ width, height, data }: Image): Buffer {
  const png = new PNG({ width, height })
  png.data = Buffer.from(data)
  return PNG.sync.write(png)
}

/** Another size: each pixel is the mean of those it stands for. */
export function resize(image: Image, width: number, height: number): Image {
  const data = new Uint8Array(width * height * 4)
  for (let y = 0; y < height; y++) {
    const [top, bottom] = span(y, height, image.height)
    for (let x = 0; x < width; x++) {
      const [left, right] = span(x, width, image.width)
      data.set(mean(image, left, right, top, bottom), (y * width + x) * 4)
    }
  }
  return { width, height, data }
}

/** What of `from` pixels in a row stands behind one of `to`. */
function span(at: number, to: number, from: number): readonly [number, number] {
  const first = Math.floor((at * from) / to)
  return [first, Math.max(first + 1, Math.floor(((at + 1) * from) / to))]
}

function mean({ width, data }: Image, left: number, right: number, top: number, bottom: number): readonly number[] {
  let [red, green, blue, opacity] = [0, 0, 0, 0]
  for (let y = top; y < bottom; y++) {
    for (let at = (y * width + left) * 4; at < (y * width + right) * 4; at += 4) {
      red += data[at] ?? 0
      green += data[at + 1] ?? 0
      blue += data[at + 2] ?? 0
      opacity += data[at + 3] ?? 0
    }
  }
  const pixels = (right - left) * (bottom - top)
  return [red, green, blue, opacity].map((sum) => Math.round(sum / pixels))
}
