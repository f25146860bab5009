export function wholeValue(number: number): Buffer
export function isWhole(value: unknown): boolean
