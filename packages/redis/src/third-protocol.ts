import { TYPE } from './reply-shapes.js'

/*
 * What version 3 of the protocol has more, which only clients of the user's speak: told by the types of version 2 that are read in the same way.
 * https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
 */

export const PUSH = 0x3e

const AS_IN_2: ReadonlyMap<number, number> = new Map([
  [0x5f, TYPE.text], // _ null
  [0x23, TYPE.text], // # true or false
  [0x2c, TYPE.text], // , fraction
  [0x28, TYPE.text], // ( large number
  [0x21, TYPE.bulk], // ! error
  [0x3d, TYPE.bulk], // = text with its format
  [0x7e, TYPE.array], // ~ set
  [0x25, TYPE.array], // % map
  [PUSH, TYPE.array],
])

export function typeIn3(written: number): number {
  return AS_IN_2.get(written) ?? written
}

const SOUND = /^(?:_|#[tf]|,(?:[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?inf|nan)|\([+-]?\d+|!\d+|=(?:[4-9]|\d{2,})|[~%>]\d+)$/

/** Whether the client understands the first line of something of version 3. */
export function isSoundLine(line: string): boolean {
  return SOUND.test(line)
}

/** In which messages the client puts up with null: none was subscribed to, or everything is invalid. */
export function mayBeNull(kind: string, index: number): boolean {
  if (index === 1) return kind === 'invalidate' || kind.endsWith('unsubscribe')
  return index > 1 && kind !== 'pmessage'
}
