import { types } from 'node:util'

/** A copy of a view of the same class of the language, with a buffer of its own behind it that is as long as the view: a small view keeps all of a large buffer alive. */
export function ownMemoryOf<T extends ArrayBufferView>(view: T): T {
  const { byteOffset, byteLength } = view
  if (Buffer.isBuffer(view)) {
    const own = Buffer.allocUnsafeSlow(byteLength)
    own.set(view)
    return own as unknown as T
  }
  const buffer = view.buffer.slice(byteOffset, byteOffset + byteLength)
  if (types.isDataView(view)) return new DataView(buffer as ArrayBuffer) as unknown as T
  const constructor = arrayClassOf(view) as unknown as new (buffer: ArrayBufferLike) => T
  return new constructor(buffer)
}

/** Whether it is of a class of the language or a Buffer: a copy is then of the same class. */
export function isOfTheLanguage(view: ArrayBufferView): boolean {
  return Buffer.isBuffer(view) || types.isDataView(view) || arrayClassOf(view) === view.constructor
}

const ARRAY_CLASS = /^(?:Big)?(?:Int|Uint|Float)\d+(?:Clamped)?Array$/

/** The class of the language under a class of somebody's, whose constructor may want other arguments. */
function arrayClassOf(view: ArrayBufferView): object {
  for (let at: object | null = view; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (ARRAY_CLASS.test(at.constructor.name)) return at.constructor
  }
  return Uint8Array
}
