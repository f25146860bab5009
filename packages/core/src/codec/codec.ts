/**
 * Turns values into bytes and back. A codec is fixed per policy; readers find the right one by the id stored with the
 * bytes, so an entry written under another setting can still be read.
 */
export interface Codec {
  /** Stable, ASCII, stored with every entry. */
  readonly id: string
  /** @throws anything, when the value cannot be represented; the manager reports it as `not-encodable` */
  encode(value: unknown): Uint8Array
  /** The value; the bytes may be kept, nobody else writes to them. */
  decode(bytes: Uint8Array): unknown
}
