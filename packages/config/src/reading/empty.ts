/**
 * Stands where a YAML file has a key and nothing after it, which YAML reads as null. Where null means something, nothing
 * must not mean the same.
 */
export const EMPTY = Symbol('empty')
