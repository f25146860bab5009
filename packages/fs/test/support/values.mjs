/** Values that tell by themselves whether they are whole: a number, then bytes and a length that follow from it. */
const SMALLEST = 200_000
const SPREAD = 1_500_000

export function wholeValue(number) {
  const value = Buffer.alloc(SMALLEST + ((number * 7919) % SPREAD), number % 251)
  value.writeUInt32LE(number)
  return value
}

export function isWhole(value) {
  return Buffer.isBuffer(value) && value.length >= SMALLEST && value.equals(wholeValue(value.readUInt32LE()))
}
