import v8 from 'node:v8'
import { ownMemoryOf } from '@thermocline/backend'
import type { Codec } from './codec.js'
import { describeLoss, lossIn } from './losses.js'

/**
 * The structured binary form: V8's serialisation, which is what `structuredClone` uses, so Date, Map, Set, BigInt,
 * RegExp, Error, typed arrays, sparse arrays, -0, NaN, `undefined` in objects and cycles come back. Two differences to
 * the plain `v8.serialize`: a nested Buffer comes back as the Uint8Array that `structuredClone` makes of it, and only
 * the viewed part of a buffer is written, never the pool behind it. Views that shared one buffer come back separate. What V8 would flatten
 * without a word is refused: see {@link lossIn}.
 */
export const structuredCodec: Codec = {
  id: 'v8',
  encode(value) {
    const loss = lossIn(value)
    if (loss !== undefined) throw new TypeError(describeLoss(loss))
    const serializer = new Serializer()
    serializer.writeHeader()
    serializer.writeValue(value)
    return serializer.releaseBuffer()
  },
  decode(bytes) {
    const deserializer = new Deserializer(bytes)
    deserializer.readHeader()
    return deserializer.readValue() as unknown
  },
}

/** Node's own hooks, which its type declarations leave out. */
interface HostHooks {
  _writeHostObject(view: ArrayBufferView): void
  _readHostObject(): ArrayBufferView
}

const serializerHooks = v8.DefaultSerializer.prototype as unknown as HostHooks
const deserializerHooks = v8.DefaultDeserializer.prototype as unknown as HostHooks

class Serializer extends v8.DefaultSerializer {
  _writeHostObject(view: ArrayBufferView): void {
    const plain = Buffer.isBuffer(view) ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : view
    serializerHooks._writeHostObject.call(this, plain)
  }
}

class Deserializer extends v8.DefaultDeserializer {
  /** Gives each view its own memory: one that pointed into the frame would keep the whole frame alive. */
  _readHostObject(): ArrayBufferView {
    return ownMemoryOf(deserializerHooks._readHostObject.call(this))
  }
}
