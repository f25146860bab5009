import type { Transform } from 'node:stream'

/** Whose payload it is, and under which key: a step may bind the bytes to that. */
export interface PayloadPlace {
  readonly tenant: string
  readonly key: string
}

/** What the bytes of a payload go through between their codec and a tier: compression, or a seal. */
export interface PayloadStep {
  /** Stands behind a `+` in the codec of an entry: `json+gzip`. */
  readonly id: string
  /**
   * From so many bytes on it is worth a try, and it is left out where the bytes do not shrink or it cannot be done. `undefined`: nothing is stored
   * without it.
   */
  readonly optionalFrom: number | undefined
  /** Undoes it: known to a manager with a policy that has the step. */
  readonly reader: StepReader
  apply(bytes: Uint8Array, place: PayloadPlace): Promise<Uint8Array>
  /** The same for a stream. */
  applying(place: PayloadPlace): Transform
}

/** Undoes a step, whoever has done it. */
export interface StepReader {
  readonly id: string
  /**
   * The bytes before the step; `undefined`: they are more than `maxBytes`.
   *
   * @throws CacheError `foreign` or `corrupt` for bytes that the step has not made, or not for this place
   */
  undo(bytes: Uint8Array, place: PayloadPlace, maxBytes: number): Promise<Uint8Array | undefined>
  /** The same for a stream, which fails so. */
  undoing(place: PayloadPlace): Transform
}
