import type { Image } from './images.js'

/** Pictures from one frame to the next, cross-faded. */
const STEPS = 4
const PICTURES_A_SECOND = 12

/**
 * A video of the frames as a stream of YUV4MPEG2, which players such as mpv and ffplay show: one picture at a time, so that a film of
 * any length takes the memory of two frames.
 */
export async function* renderVideo(count: number, frameAt: (index: number) => Promise<Image>): AsyncGenerator<Uint8Array, void, undefined> {
  let next = await frameAt(0)
  const { width, height } = next
  yield Buffer.from(`YUV4MPEG2 W${width} H${height} F${PICTURES_A_SECOND}:1 Ip A1:1 C444\n`)
  for (let index = 1; index <= count; index++) {
    const frame = next
    next = index < count ? await frameAt(index) : frame
    for (let step = 0; step < STEPS; step++) yield picture(frame, next, step / STEPS)
  }
}

/** A mixture of two frames, as brightness and two differences in colour (BT.601), one plane after the other. */
function picture(a: Image, b: Image, share: number): Buffer {
  const pixels = a.width * a.height
  const begin = Buffer.from('FRAME\n')
  const out = Buffer.alloc(begin.length + pixels * 3)
  out.set(begin)
  for (let pixel = 0, at = begin.length; pixel < pixels; pixel++, at++) {
    const mixed = (channel: number): number => (a.data[pixel * 4 + channel] ?? 0) * (1 - share) + (b.data[pixel * 4 + channel] ?? 0) * share
    const [red, green, blue] = [mixed(0), mixed(1), mixed(2)]
    out[at] = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    out[at + pixels] = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    out[at + 2 * pixels] = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
  }
  return out
}
