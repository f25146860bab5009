import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { encodePng, type Image } from './images.js'

const WIDTH = 480
const HEIGHT = 270
const FRAMES_A_SCENE = 8

type Colour = readonly [red: number, green: number, blue: number]
interface Scene {
  readonly name: string
  readonly sky: readonly [top: Colour, horizon: Colour]
  readonly ground: Colour
  readonly disc: Colour
}

const SCENES: readonly Scene[] = [
  { name: 'day', sky: [[70, 140, 230], [190, 220, 250]], ground: [60, 130, 50], disc: [255, 240, 150] },
  { name: 'evening', sky: [[90, 40, 110], [250, 140, 60]], ground: [50, 40, 30], disc: [255, 110, 40] },
  { name: 'night', sky: [[5, 5, 25], [30, 40, 80]], ground: [10, 20, 25], disc: [235, 235, 245] },
]

/** Draws a short film as a folder of PNG files: hills below a disc that crosses the sky, by day, in the evening and at night. */
export async function writeSample(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  for (const scene of SCENES) {
    for (let at = 0; at < FRAMES_A_SCENE; at++) {
      const file = path.join(directory, `${SCENES.indexOf(scene)}-${scene.name}-${at}.png`)
      await writeFile(file, encodePng(draw(scene, at / FRAMES_A_SCENE)))
    }
  }
}

function draw(scene: Scene, time: number): Image {
  const data = new Uint8Array(WIDTH * HEIGHT * 4)
  const [discX, discY] = [WIDTH * (0.1 + 0.8 * time), HEIGHT * (0.45 - 0.3 * Math.sin(Math.PI * time))]
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) data.set([...colourAt(scene, x, y, Math.hypot(x - discX, y - discY)), 255], (y * WIDTH + x) * 4)
  }
  return { width: WIDTH, height: HEIGHT, data }
}

function colourAt({ sky: [top, horizon], ground, disc }: Scene, x: number, y: number, fromDisc: number): Colour {
  const hill = HEIGHT * (0.7 + 0.06 * Math.sin(x / 40) + 0.03 * Math.sin(x / 13))
  if (y > hill) return mix(ground, [0, 0, 0], ((y - hill) / HEIGHT) * 1.5)
  return fromDisc < 22 ? disc : mix(mix(top, horizon, y / HEIGHT), disc, Math.max(0, 0.4 - fromDisc / 200))
}

function mix(a: Colour, b: Colour, share: number): Colour {
  const part = (at: 0 | 1 | 2): number => Math.round(a[at] + (b[at] - a[at]) * share)
  return [part(0), part(1), part(2)]
}
