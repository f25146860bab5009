/**
 * Keys that have broken somebody's cache: path traversal, device names, case pairs, separators of every store, patterns,
 * normal forms, prototype names, and the longest there may be. All are legal and all are different.
 */
export const WEIRD_KEYS: readonly string[] = [
  'a', 'A', 'aa', 'aA', 'Aa', 'AA', 'ab', 'aB',
  '.', '..', '...', '.hidden', 'trailing.', 'trailing ', ' leading', ' ', '\t', '\n', '\r\n', 'line\nbreak',
  '/', '//', 'a/', '/a', 'a/b', 'a//b', 'a/b/', 'a/./b', 'a/../b', '../a', '../../etc/passwd', '/etc/passwd', 'a\\b', '..\\a', 'C:\\a', 'a:b', 'a::b', ':a',
  'con', 'CON', 'con.txt', 'nul', 'aux', 'prn', 'com1', 'lpt9', 'thermocline', 'THERMOCLINE',
  '*', '?', '[a-z]', '{a}', '{}', 'a{b}c', '}{', '$', '$HOME', '${HOME}', '`id`', ';', '|', '&', '<>', '"', "'", '!', '#', '@', '+', '=', ',', '^',
  '%', '%2f', '%2F', '%252f', '%41', '%zz', '%00', 'a%2fb', '~', '~a', '~long/abc', '-', '--', '-rf', '_', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty',
  'é', 'e\u0301', 'ﬁ', 'fi', 'ß', 'SS', 'ı', 'İ', 'i', 'I', 'K', 'k', 'Å', '😀', '👩‍👩‍👧', '日本語', 'العربية', '\u200b', '\ufeff', '\u202e', '\u007f', '\u0001',
  '0', '00', '1', '-1', '1e3', 'null', 'undefined', 'true', 'NaN',
  'a.tc', 'a.tmp', 'index.json', 'k'.repeat(255), 'K'.repeat(255), 'k'.repeat(256), 'x'.repeat(1024), 'X'.repeat(1024), `${'x'.repeat(1023)}y`,
  '/'.repeat(300), '.'.repeat(300), '😀'.repeat(256), 'ü'.repeat(512), `${'deep/'.repeat(200)}end`,
]

/** So many of them at most, from the first to the last at even distances. */
export function someOf(names: readonly string[], most: number): readonly string[] {
  if (names.length <= most) return names
  return Array.from({ length: most }, (_, i) => names[Math.floor((i * names.length) / most)] as string)
}

/** Tenant ids of the same kind, within a tenant's 128 bytes. */
export const WEIRD_TENANTS: readonly string[] = WEIRD_KEYS.filter((key) => Buffer.byteLength(key) <= 128)

/** Keys that must be refused, with the rule each breaks. */
export const ILLEGAL_KEYS: readonly (readonly [key: unknown, rule: string])[] = [
  ['', 'empty'],
  ['x'.repeat(1025), 'bytes'],
  ['😀'.repeat(257), 'bytes'],
  ['a\0b', 'NUL'],
  ['\ud800', 'surrogate'],
  ['a\udc00b', 'surrogate'],
  [undefined, 'string'],
  [null, 'string'],
  [42, 'string'],
  [{}, 'string'],
  [['a'], 'string'],
]
