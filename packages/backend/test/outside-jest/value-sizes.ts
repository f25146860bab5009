// Run by value-size.test.ts: estimates held against the heap. Prints a line for each shape: name, estimate, what it took, microseconds.
import { estimateBytes } from '../../src/values/value-size.js'

const collect = (globalThis as unknown as { gc: () => void }).gc
const list = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i))
const text = (length: number, unique: number, fill = 'x'): string => Buffer.from(fill.repeat(Math.max(0, length - 9)) + String(1e8 + unique)).toString()
const fresh = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T
class Point {
  x: number
  y: number
  label: string
  constructor(i: number) {
    this.x = i
    this.y = i + 0.5
    this.label = text(20, i)
  }
}

const batch = (): Float32Array[] => {
  const all = new Float32Array(768 * 300)
  return list(300, (i) => all.subarray(i * 768, (i + 1) * 768))
}

const SHAPES: readonly (readonly [string, () => unknown])[] = [
  ['1,500 short strings and twenty of 100 kB', () => Object.fromEntries([...list(1500, (i) => [`k${i}`, text(12, i)] as const), ...list(20, (i) => [`large${i}`, text(100_000, i)] as const)])],
  ['the same in a list', () => [...list(1500, (i) => text(12, i)), ...list(20, (i) => text(100_000, i))]],
  ['the same, large ones first', () => [...list(20, (i) => text(100_000, i)), ...list(1500, (i) => text(12, i))]],
  ['200,000 short strings', () => list(200_000, (i) => text(12, i))],
  ['200,000 short strings as an object', () => Object.fromEntries(list(200_000, (i) => [`key-${i}`, text(12, i)] as const))],
  ['50,000 strings behind one large', () => [text(5_000_000, 1), ...list(50_000, (i) => text(30, i))]],
  ['strings of two bytes', () => list(2000, (i) => text(200, i, '漢'))],
  ['a large string', () => text(3_000_000, 1)],
  ['a large string of two bytes', () => text(1_000_000, 1, '漢')],
  ['strings with one wide character at their end', () => list(500, (i) => `${text(1000, i)}😀`)],
  ['small whole numbers', () => list(100_000, (i) => i)],
  ['fractions', () => list(100_000, (i) => i + 0.5)],
  ['fractions among strings', () => list(20_000, (i) => (i % 10 === 0 ? text(12, i) : i + 0.5))],
  ['rows', () => fresh(list(5000, (i) => ({ id: i, name: text(24, i), score: i / 7, active: true, tags: ['a', 'b'] })))],
  ['nested rows', () => fresh(list(3000, (i) => ({ id: i, name: text(24, i), score: i / 7, nested: { at: i, by: text(16, i) } })))],
  ['rows of many columns', () => fresh(list(1000, (i) => Object.fromEntries(list(40, (c) => [`column${c}`, c % 2 === 0 ? i * c : text(16, i * c)] as const))))],
  ['a record by id', () => Object.fromEntries(list(5000, (i) => [text(20, i), { at: i, by: text(16, i) }] as const))],
  ['a matrix', () => list(300, (r) => list(300, (c) => r * c + 0.25))],
  ['a tree', () => { const grow = (depth: number): unknown => (depth === 0 ? text(16, depth) : { left: grow(depth - 1), right: grow(depth - 1), name: text(20, depth) }); return grow(13) }],
  ['a chain', () => list(9000, (i) => i).reduce<unknown>((next, i) => ({ i, next }), null)],
  ['few large lists among many small objects', () => [...list(10_000, (i) => ({ i })), ...list(3, (l) => list(100_000, (i) => text(12, l * 100_000 + i)))]],
  ['a Map', () => new Map(list(50_000, (i) => [text(16, i), { i }] as const))],
  ['a small Map', () => list(10_000, (i) => new Map([['a', i], ['b', i]]))],
  ['a Set', () => new Set(list(50_000, (i) => text(16, i)))],
  ['dates', () => list(10_000, (i) => new Date(i))],
  ['large bigints', () => list(2000, (i) => 2n ** 6000n + BigInt(i))],
  ['instances', () => list(10_000, (i) => new Point(i))],
  ['buffers', () => list(2000, (i) => Buffer.alloc(1000, i))],
  ['pooled buffers', () => list(20_000, (i) => Buffer.from(text(100, i)))],
  ['one small buffer that keeps its slab', () => ({ a: Buffer.allocUnsafeSlow(1_000_000).subarray(5, 25) })],
  ['small typed arrays', () => list(10_000, () => new Uint8Array(16))],
  ['rows of one batch', batch],
  ['one row of a batch, in an object', () => ({ row: batch()[7] })],
  ['100,000 views of one buffer', () => { const all = new Float32Array(800_000); return list(100_000, (i) => all.subarray(i * 8, i * 8 + 8)) }],
  ['one object many times', () => { const one = { text: text(100_000, 1) }; return list(100_000, () => one) }],
  ['a hundred objects many times', () => { const some = list(100, (i) => ({ text: text(10_000, i) })); return list(100_000, (i) => some[i % 100]) }],
  ['an array made for a million', () => Object.assign(new Array<unknown>(1_000_000), { 0: 1 })],
  ['a sparse array', () => { const sparse: unknown[] = []; for (let i = 0; i < 1000; i++) sparse[i * 1_000_000] = text(50, i); return sparse }],
  ['errors', () => list(1000, (i) => new Error(`m${i}`))],
]

/** Two readings that differ by less are the same. */
const STILL_BYTES = 20_000
const MOST_READINGS = 30

/** The memory behind buffers is given back some turns after they were collected, and on a busy machine some time after that: reads until nothing more goes. */
async function used(): Promise<number> {
  let [before, now] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let i = 0; i < MOST_READINGS && (i < 4 || Math.abs(before - now) > STILL_BYTES); i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 1))
    const { heapUsed, external } = process.memoryUsage()
    ;[before, now] = [now, heapUsed + external]
  }
  return now
}

let kept: unknown
const make = (shape: () => unknown): void => {
  kept = shape()
}

for (const [name, shape] of SHAPES) {
  make(shape) // what is made once is no part of the value: shapes of objects, code
  kept = undefined
  const before = await used()
  make(shape)
  const took = (await used()) - before
  let micros = Number.POSITIVE_INFINITY
  let estimate = 0
  for (let i = 0; i < 5; i++) {
    const startedAt = process.hrtime.bigint()
    estimate = estimateBytes(kept)
    micros = Math.min(micros, Number(process.hrtime.bigint() - startedAt) / 1000)
  }
  kept = undefined
  process.stdout.write(`${JSON.stringify({ name, estimate, took, micros })}\n`)
}
